"""Presets: recipes by name, each with its cost: a whole command on two cores of a server CPU (benchmarks/results)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from dreamfields import paper
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.settings import unknown_name


@dataclass(frozen=True)
class Preset:
    """A recipe, and the settings of its exports."""

    summary: str  # Its purpose and its cost, in one line
    recipe: Recipe
    export: ExportSettings


QUICK = Preset("a recognisable object in about two minutes on two CPU cores", Recipe(), ExportSettings())

DRAFT = Preset(
    "a first look in about 35 seconds",
    replace(QUICK.recipe, optimize=replace(QUICK.recipe.optimize, steps=100)),
    ExportSettings(
        mesh_cells=64, max_faces=8_000, sheet_size=128, video_size=128, video_frames=24, video_fps=12, still_samples=64
    ),
)

STANDARD = Preset(
    "more steps for hard objects, about seven minutes",
    replace(QUICK.recipe, optimize=replace(QUICK.recipe.optimize, steps=3000)),
    ExportSettings(mesh_cells=128, max_faces=24_000, video_size=384, video_frames=90),
)

PAPER_LQ = Preset(
    "Dream Fields at 88 pixels, for a GPU and CLIP B/16; its authors name 30 minutes on theirs", paper.LQ, paper.EXPORT
)
PAPER_MQ = Preset(
    "Dream Fields at 168 pixels, as in its tables; took its authors 72 minutes on 8 TPU cores", paper.MQ, paper.EXPORT
)
PAPER_HQ = Preset(
    "Dream Fields at 252 pixels, as in its figures: 4.5 times the work of paper-mq, 320 minutes on 8 TPU cores by that",
    paper.HQ,
    paper.EXPORT,
)

_OURS = {"draft": DRAFT, "quick": QUICK, "standard": STANDARD}
_PAPERS = {"paper-lq": PAPER_LQ, "paper-mq": PAPER_MQ, "paper-hq": PAPER_HQ}
PRESETS: Mapping[str, Preset] = MappingProxyType(_OURS | _PAPERS)
DEFAULT = "quick"


def preset(name: str) -> Preset:
    """Return a preset by name. Raises UsageError: there is none of that name; the nearest name is offered."""
    if name not in PRESETS:
        raise UsageError(unknown_name(name, list(PRESETS), "preset"))
    return PRESETS[name]
