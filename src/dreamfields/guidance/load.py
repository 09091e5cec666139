"""From settings to guides: the one table of what guidance there is."""

from dataclasses import replace
from typing import assert_never

import torch

from dreamfields.guidance.base import Guide
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.guidance.spec import Member, parse_members
from dreamfields.guidance.weights import GUIDING_TOWERS


def load_guides(settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    """Load the models that the settings name onto a device.

    Raises:
        MissingPackageError: weights are not on this machine, or are not the recorded ones.
        UsageError: a folder holds no model that can guide.
    """
    guides = []
    for member in parse_members(settings.name):
        loaded = _load_member(member, settings, device)
        guides += [replace(guide, weight=member.weight * guide.weight, start=member.start) for guide in loaded]
    return guides


def _load_member(member: Member, settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    match member.model:
        case "lit":
            return _load_lit(settings, device)
        case "clip":
            from dreamfields.guidance.clip import load_clip

            return [Guide(load_clip(member, settings.precision).to(device))]
        case "toy":
            from dreamfields.guidance.toy import ToyGuidance

            return [Guide(ToyGuidance(settings.image_size).to(device))]
        case _:
            assert_never(member.model)


def _load_lit(settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    from dreamfields.guidance.lit import LitGuidance, embed_class_names
    from dreamfields.guidance.text import SentenceEncoder
    from dreamfields.guidance.towers import Tower

    sentences = SentenceEncoder()
    classes = embed_class_names(sentences, settings.template)
    guides = []
    for source in GUIDING_TOWERS:
        member = LitGuidance(
            Tower(source), sentences, classes, settings.bridge, settings.image_size, settings.size_jitter
        )
        guides.append(Guide(member.to(device), weight=0.5))
    return guides
