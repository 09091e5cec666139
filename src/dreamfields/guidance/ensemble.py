"""Which models guide, as one line of text: `lit`, `clip:/models/b16`, `lit:2+clip:openai/clip-vit-base-patch16:1@0.3`.

::

    guidance = member { "+" member }
    member   = model [ ":" weight ] [ "@" start ]
    model    = "lit" | "toy" | "clip:" place
    place    = a folder, or the id of a model on the hub

Text, because it travels as it is through a flag, run.json and the names of results. A weight is a share of the
guidance's term, 1 if not given; a start is the share of the steps from which a member is asked, 0 if not given. A
folder whose name ends like a weight or a start is told apart by a final slash. Nothing here imports torch.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from dreamfields.errors import UsageError
from dreamfields.settings import Range

Model = Literal["lit", "toy", "clip"]
_WEIGHTS, _STARTS = Range(0.001, 1000.0), Range(0.0, 0.99)
_NUMBER = r"[0-9.]+(?:e[+-]?[0-9]+)?"
_MEMBER = re.compile(rf"(lit|toy|clip:.+?)(?::({_NUMBER}))?(?:@({_NUMBER}))?")
# A "+" within the path of a folder is part of the path.
_JOINT = re.compile(r"\+(?=lit|toy|clip:)")


@dataclass(frozen=True)
class Member:
    """One model of an ensemble, before anything is loaded."""

    model: Model
    """`lit`, `toy` or `clip`."""
    model_id: str = ""
    """Where a `clip` is: a folder or the id of a model on the hub."""
    weight: float = 1.0
    """Its share of the guidance's term, against the others'."""
    start: float = 0.0
    """Share of the steps from which it is asked."""

    @property
    def label(self) -> str:
        """Return its name as shown and exported: of a folder the last part alone, for the rest is nobody's business."""
        if self.model != "clip":
            return self.model
        return f"clip:{Path(self.model_id).name if is_path(self.model_id) else self.model_id}"


def is_path(model_id: str) -> bool:
    """Tell whether a place is a folder: one is there, or it cannot be the id of a model (`name`, `owner/name`)."""
    return Path(model_id).expanduser().is_dir() or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", model_id, re.ASCII)


def parse_members(text: str) -> tuple[Member, ...]:
    """Return the members that a line of text names.

    Raises:
        UsageError: it cannot be read, a number is out of range, or nobody would be asked at the first step.
    """
    members = tuple(_parse_member(part) for part in _JOINT.split(text))
    if all(member.start > 0.0 for member in members):
        raise UsageError(f"name is {text!r}; one of its models must start at 0, or the first steps have no guidance")
    return members


def label(text: str) -> str:
    """Return the names of all members as shown and exported."""
    return "+".join(member.label for member in parse_members(text))


def _parse_member(text: str) -> Member:
    match = _MEMBER.fullmatch(text)
    if match is None:
        raise UsageError(
            f"there is no guidance called {text!r}; it must be lit, toy or clip:FOLDER-OR-ID, "
            "and may end in :WEIGHT and @START; several are joined by +"
        )
    model, _, model_id = match[1].partition(":")
    weight = _number(text, "weight", match[2] or "1", _WEIGHTS)
    return Member(cast(Model, model), model_id, weight, _number(text, "start", match[3] or "0", _STARTS))


def _number(member: str, what: str, digits: str, allowed: Range) -> float:
    try:
        value = float(digits)
    except ValueError:
        value = float("nan")
    if value not in allowed:
        raise UsageError(f"the {what} of {member!r} is {digits}; it must be {allowed}")
    return value
