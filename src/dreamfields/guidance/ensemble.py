"""The models that guide, as one line of text: `lit`, `clip:/models/b16`, `lit:2+clip:openai/clip-vit-base-patch16@0.3`.

::

    guidance = member { "+" member }
    member   = model [ ":" weight ] [ "@" start ]
    model    = kind [ ":" model id ]      a kind of `kinds.KINDS`; some take the folder or the hub's id of a model

Text, because it fits into a flag, run.json and the names of results. The weight multiplies the member's loss and is 1
by default; the start is the fraction of the steps after which the member guides, 0 by default. A folder whose name ends
like a weight or a start needs a final slash. Importing this module does not import torch.
"""

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dreamfields.errors import UsageError
from dreamfields.guidance.clip.hub import is_path
from dreamfields.guidance.kinds import KINDS, kind_named, name_choices
from dreamfields.guidance.prompts import is_unreadable
from dreamfields.settings import Range

if TYPE_CHECKING:
    import torch

    from dreamfields.guidance.base import Guide
    from dreamfields.guidance.settings import GuidanceSettings

_WEIGHTS, _STARTS = Range(0.001, 1000.0), Range(0.0, 0.99)
_NUMBER: Final = r"[0-9.]+(?:e[+-]?[0-9]+)?"
_MODEL: Final = "|".join(f"{kind.name}:.+?" if kind.takes_model_id else kind.name for kind in KINDS)
_MEMBER: Final = re.compile(rf"({_MODEL})(?::({_NUMBER}))?(?:@({_NUMBER}))?")
# A "+" that no model follows belongs to the path of a folder.
_JOINT: Final = re.compile(rf"\+(?={_MODEL})")


@dataclass(frozen=True)
class Member:
    """One model of an ensemble, before its weights are loaded."""

    kind: str  # Name of a kind of guidance
    model_id: str = ""  # A folder or the id of a model on the hub, where the kind takes one
    weight: float = 1.0  # Multiplies its loss
    start: float = 0.0  # Fraction of the steps after which it guides, in [0, 1)

    @property
    def label(self) -> str:
        """Return its name as shown and exported: of a folder the last part only, because paths are private."""
        name = Path(self.model_id).name if is_path(self.model_id) else self.model_id
        return f"{self.kind}:{name}" if self.model_id else self.kind


def parse_members(text: str) -> tuple[Member, ...]:
    """Return the members that a line of text names.

    Raises UsageError: it cannot be parsed, a number is out of range, or no member guides at the first step.
    """
    members = tuple(_parse_member(part) for part in _JOINT.split(text))
    if all(member.start > 0.0 for member in members):
        raise UsageError(f"name is {text!r}; one of its models must start at 0, or the first steps have no guidance")
    return members


def label(text: str) -> str:
    """Return the names of all members as shown and exported."""
    return "+".join(member.label for member in parse_members(text))


def check_weights(settings: "GuidanceSettings") -> None:
    """Check, without torch, that all weights of the guidance are on this machine.

    Raises MissingPackageError: a package, a file or a model is missing; UsageError: a folder holds no model that fits.
    """
    for member in parse_members(settings.name):
        kind_named(member.kind).check(member, settings)


def check_readable(settings: "GuidanceSettings", texts: Iterable[tuple[str, str]]) -> None:
    """Refuse texts, each with what it is called, of which a model that guides cannot read a single word.

    Raises UsageError: there is one; its embedding would mean nothing.
    """
    for member, (name, text) in itertools.product(parse_members(settings.name), texts):
        if is_unreadable(text, kind_named(member.kind).unknown_words(text)):
            raise UsageError(
                f"{member.label} can read no word of {name}, {text[:80]!r}; it reads English, so translate it, or "
                "guide with a model that reads this language (docs/guidance.md)"
            )


def load_guides(settings: "GuidanceSettings", device: "torch.device") -> "list[Guide]":
    """Load the models that guide onto a device.

    Raises MissingPackageError or UsageError as `check_weights` does, and where weights are not the recorded ones.
    """
    guides = []
    for member in parse_members(settings.name):
        loaded = kind_named(member.kind).import_module().load_guides(member, settings, device)
        guides += [replace(guide, weight=member.weight * guide.weight, start=member.start) for guide in loaded]
    return guides


def _parse_member(text: str) -> Member:
    if (match := _MEMBER.fullmatch(text)) is None:
        raise UsageError(
            f"there is no guidance called {text!r}; it must be {name_choices()}, "
            "and may end in :WEIGHT and @START; several are joined by +"
        )
    kind, _, model_id = match[1].partition(":")
    weight = _number(text, "weight", match[2] or "1", _WEIGHTS)
    return Member(kind, model_id, weight, _number(text, "start", match[3] or "0", _STARTS))


def _number(member: str, what: str, digits: str, allowed: Range) -> float:
    try:
        value = float(digits)
    except ValueError:
        value = float("nan")
    if value not in allowed:
        raise UsageError(f"the {what} of {member!r} is {digits}; it must be {allowed}")
    return value
