"""The judges: a classifier of nouns (`classifier.Judge`), and any model of guidance that did not guide, by name.

Nothing here imports torch before a judge is loaded, so a wrong name is refused at once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dreamfields.errors import UsageError
from dreamfields.guidance.ensemble import Member, parse_members
from dreamfields.guidance.kinds import JudgeMode, kind_named, name_choices

if TYPE_CHECKING:
    import torch

    from dreamfields.evaluate.classifier import Judge
    from dreamfields.guidance.base import AbstractGuidance


def judge_member(name: str) -> Member:
    """Parse the name of a judge. Raises UsageError: it names no model, several, or one with a weight or a start."""
    members = parse_members(name)
    if len(members) != 1 or members[0] != replace(members[0], weight=1.0, start=0.0):
        raise UsageError(f"--judge is {name!r}; it must be one model: {name_choices()}, without a weight")
    return members[0]


def check_judge_weights(name: str) -> None:
    """Check, without torch, that the weights of a judge are on this machine.

    Raises MissingPackageError: they are not; UsageError: it is the name of no judge, or of a folder without a model.
    """
    member = judge_member(name)
    kind_named(member.kind).check_judge(member)


def load_judge(name: str, device: "torch.device", mode: JudgeMode = "closed-form") -> "AbstractGuidance":
    """Load a judge onto a device; that of `lit` never guides: in closed form it knows nouns, by its adapters sentences.

    Raises MissingPackageError: its weights are not on this machine; UsageError: it is the name of no judge.
    """
    member = judge_member(name)
    return kind_named(member.kind).import_module().load_judge(member, mode, device)


def check_judge(judge: "AbstractGuidance | Judge", guides: Sequence[str], weights: Sequence[str], run: str) -> None:
    """Compare a judge with the guides of a run by name and by digest. Raises UsageError: it guided the run."""
    if judge.name in guides or (judge.identity and judge.identity in weights):
        raise UsageError(
            f"{judge.name} guided {run}, so it cannot judge it: the object was optimised for its score; "
            "name another model with --judge"
        )
