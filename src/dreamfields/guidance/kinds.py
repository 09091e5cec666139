"""The table of kinds of guidance: a new kind is one new file and one line of `KINDS`.

Nothing here imports torch, so missing weights are reported at once; a kind's module, which does, is imported last.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, cast

from dreamfields.guidance.clip import hub
from dreamfields.guidance.lit import weights, words

if TYPE_CHECKING:
    import torch

    from dreamfields.guidance.base import AbstractGuidance, Guide
    from dreamfields.guidance.ensemble import Member
    from dreamfields.guidance.settings import GuidanceSettings

JudgeMode = Literal["closed-form", "adapters"]  # What `lit` judges by; other kinds have one judge only


class KindModule(Protocol):
    """The functions that the module of a kind defines."""

    def load_guides(self, member: "Member", settings: "GuidanceSettings", device: "torch.device", /) -> "list[Guide]":
        """Return the models that guide, with their weights relative to each other."""

    def load_judge(self, member: "Member", mode: JudgeMode, device: "torch.device", /) -> "AbstractGuidance":
        """Return the model that judges."""


@dataclass(frozen=True)
class Kind:
    """One kind of guidance."""

    name: str  # As written in `--guidance.name`
    module: str  # A `KindModule`, by its full name
    takes_model_id: bool = False  # Whether a folder or the id of a model follows the name, after a colon
    check: "Callable[[Member, GuidanceSettings], None]" = lambda *_: None
    """Raises a `DreamfieldsError` unless the weights that guide are on this machine."""
    check_judge: "Callable[[Member], None]" = lambda *_: None
    """Raises a `DreamfieldsError` unless the weights that judge are on this machine."""

    sees_shapes: bool = True  # Whether it can use the likely shape of a thing that a run starts from
    unknown_words: "Callable[[str], tuple[str, ...]]" = lambda _: ()
    """Returns the words of a text that it cannot read, where that can be told without loading a model."""

    def import_module(self) -> KindModule:
        """Import the module of this kind, and torch with it."""
        return cast(KindModule, importlib.import_module(self.module))


KINDS: Final = (
    Kind(
        "lit",
        "dreamfields.guidance.lit.load",
        check=weights.check,
        check_judge=weights.check_judge,
        unknown_words=words.unknown_words,
    ),
    Kind("toy", "dreamfields.guidance.toy", sees_shapes=False),
    Kind("clip", "dreamfields.guidance.clip.model", takes_model_id=True, check=hub.check, check_judge=hub.check),
)


def kind_named(name: str) -> Kind:
    """Return the kind of that name."""
    return next(kind for kind in KINDS if kind.name == name)


def name_choices() -> str:
    """Return what a member may be, in words: `lit, toy or clip:FOLDER-OR-ID`."""
    *others, last = (f"{kind.name}:FOLDER-OR-ID" if kind.takes_model_id else kind.name for kind in KINDS)
    return f"{', '.join(others)} or {last}"
