"""Checking and loading what guides, as `GuidanceSettings.name` says. Importing this module does not import torch."""

from dataclasses import replace
from typing import TYPE_CHECKING

from dreamfields.guidance.ensemble import parse_members
from dreamfields.guidance.kinds import kind_named
from dreamfields.guidance.settings import GuidanceSettings

if TYPE_CHECKING:
    import torch

    from dreamfields.guidance.base import Guide


def check_weights(settings: GuidanceSettings) -> None:
    """Make sure, without torch, that all weights of the guidance are on this machine.

    Raises:
        MissingPackageError: a package, a file or a model is missing; the sentence names the command that gets it.
        UsageError: a folder holds no model that can guide.
    """
    for member in parse_members(settings.name):
        kind_named(member.kind).check(member, settings)


def load_guides(settings: GuidanceSettings, device: "torch.device") -> "list[Guide]":
    """Load the models that guide onto a device.

    Raises:
        MissingPackageError: weights are not on this machine, or are not the recorded ones.
        UsageError: a folder holds no model that can guide.
    """
    guides = []
    for member in parse_members(settings.name):
        loaded = kind_named(member.kind).import_module().load_guides(member, settings, device)
        guides += [replace(guide, weight=member.weight * guide.weight, start=member.start) for guide in loaded]
    return guides
