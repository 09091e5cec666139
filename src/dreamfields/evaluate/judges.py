"""Judges by name: `lit`, the tower that never guides, or any model that could have guided and did not.

Nothing here imports torch before a judge is loaded, so a wrong name costs no waiting.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from dreamfields.errors import UsageError
from dreamfields.guidance.ensemble import Member, parse_members
from dreamfields.guidance.settings import GuidanceSettings

if TYPE_CHECKING:
    import torch

    from dreamfields.guidance.base import AbstractGuidance


def judge_member(name: str) -> Member:
    """Return which model a name means, without loading anything.

    Raises:
        UsageError: it is the name of none, or of several.
    """
    members = parse_members(name)
    if len(members) != 1 or members[0] != replace(members[0], weight=1.0, start=0.0):
        raise UsageError(f"--judge is {name!r}; it must be one model: lit, clip:FOLDER-OR-ID or toy, without a weight")
    return members[0]


def load_judge(name: str, device: "torch.device") -> "AbstractGuidance":
    """Load a judge onto a device.

    Raises:
        MissingPackageError: its weights are not on this machine.
        UsageError: it is the name of none.
    """
    member = judge_member(name)
    match member.model:
        case "lit":
            return _lit().to(device)
        case "clip":
            from dreamfields.guidance.clip.model import load_clip

            return load_clip(member, "fp32").to(device)
        case "toy":
            from dreamfields.guidance.toy import ToyGuidance

            return ToyGuidance().to(device)
        case _:
            assert_never(member.model)


def _lit() -> "AbstractGuidance":
    """Return EfficientNet-Lite1 tied to sentences as its sisters are, at the size it was trained at."""
    from dreamfields.guidance.lit.closed_form import LitGuidance, embed_class_names
    from dreamfields.guidance.lit.text import SentenceEncoder
    from dreamfields.guidance.lit.towers import Tower
    from dreamfields.guidance.lit.weights import JUDGE_TOWER

    sentences = SentenceEncoder()
    classes = embed_class_names(sentences, GuidanceSettings().template)
    return LitGuidance(Tower(JUDGE_TOWER), sentences, classes, "both", JUDGE_TOWER.native_size)
