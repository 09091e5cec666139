"""Presets: recipes by name, each with its cost: a whole command on two cores of a server CPU (benchmarks/results)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dreamfields import paper
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.optimize.settings import OptimizeSettings, Recipe
from dreamfields.settings import unknown_name


@dataclass(frozen=True)
class Preset:
    """A recipe and the settings of its exports."""

    summary: str  # Its purpose and its cost, in one line
    recipe: Recipe
    export: ExportSettings


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "draft": Preset(
            "a first look in about 25 seconds",
            Recipe(optimize=OptimizeSettings(steps=100)),
            ExportSettings(
                mesh_cells=64, max_faces=8_000, sheet_size=128, video_size=128, video_frames=24, video_fps=12
            ),
        ),
        "quick": Preset("a recognisable object in about two minutes on two CPU cores", Recipe(), ExportSettings()),
        "standard": Preset(
            "more steps for hard objects, about six minutes",
            Recipe(optimize=OptimizeSettings(steps=3000)),
            ExportSettings(mesh_cells=128, max_faces=24_000, video_size=384, video_frames=90),
        ),
        "paper-lq": Preset(
            "Dream Fields at 88 pixels, for a GPU and CLIP B/16; 30 minutes by its authors", paper.LQ, paper.EXPORT
        ),
        "paper-mq": Preset(
            "Dream Fields at 168 pixels, as in its tables; 72 minutes on its authors' 8 TPU cores",
            paper.MQ,
            paper.EXPORT,
        ),
        "paper-hq": Preset(  # 4.5 times the work of paper-mq
            "Dream Fields at 252 pixels, as in its figures; about 320 minutes on 8 TPU cores", paper.HQ, paper.EXPORT
        ),
    }
)
DEFAULT = "quick"


def preset(name: str) -> Preset:
    """Return a preset by name. Raises UsageError: there is none of that name; the nearest name is offered."""
    if not isinstance(name, str) or name not in PRESETS:
        raise UsageError(unknown_name(str(name), list(PRESETS), "preset"))
    return PRESETS[name]
