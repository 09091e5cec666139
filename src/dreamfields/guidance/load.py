"""From settings to guides: the one table of what guidance there is."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import torch

from dreamfields.errors import UsageError
from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.guidance.ensemble import Member, parse_members
from dreamfields.guidance.lit.weights import GUIDING_ADAPTERS, GUIDING_TOWERS, JUDGE_ADAPTERS, JUDGE_TOWER
from dreamfields.guidance.prompts import wordings
from dreamfields.guidance.settings import GuidanceSettings, Mode

if TYPE_CHECKING:
    from dreamfields.guidance.lit.adapters import TrainedAdapters
    from dreamfields.guidance.lit.closed_form import LitGuidance


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


def load_judge(device: torch.device) -> AbstractGuidance:
    """Load the adapters of the tower that only judges, which rates how well pictures match any sentence.

    Raises:
        MissingPackageError: weights are not on this machine, or are not the recorded ones.
    """
    from dreamfields.guidance.lit.adapters import packaged_adapters
    from dreamfields.guidance.lit.closed_form import LitGuidance, embed_class_names
    from dreamfields.guidance.lit.mixed import AdaptedGuidance
    from dreamfields.guidance.lit.text import SentenceEncoder
    from dreamfields.guidance.lit.towers import Tower

    trained = packaged_adapters(JUDGE_ADAPTERS).adapters
    sentences = SentenceEncoder()
    classes = embed_class_names(sentences, "a photo of {}")
    tower = LitGuidance(Tower(JUDGE_TOWER), sentences, classes, "classes", JUDGE_TOWER.native_size)
    return AdaptedGuidance(tower, trained, both=False).to(device)


def _load_member(member: Member, settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    match member.model:
        case "lit":
            return _load_lit(settings, device)
        case "clip":
            from dreamfields.guidance.clip.model import load_clip

            return [Guide(load_clip(member, settings.precision).to(device))]
        case "toy":
            from dreamfields.guidance.toy import ToyGuidance

            return [Guide(ToyGuidance(settings.image_size).to(device))]
        case _:
            assert_never(member.model)


def _load_lit(settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    from dreamfields.guidance.lit.closed_form import LitGuidance, embed_class_names
    from dreamfields.guidance.lit.text import SentenceEncoder
    from dreamfields.guidance.lit.towers import Tower

    trained = _load_adapters(settings)
    sentences = SentenceEncoder()
    classes = embed_class_names(sentences, wordings(settings.template)[0])
    towers = [source for source in GUIDING_TOWERS if trained is None or source.name in trained]
    guides: list[AbstractGuidance] = []
    for source in towers:
        member = LitGuidance(
            Tower(source), sentences, classes, settings.bridge, settings.image_size, settings.size_jitter
        )
        guides.append(member if trained is None else _adapted(member, trained[source.name], settings.mode))
    return [Guide(guide.to(device), weight=1.0 / len(guides)) for guide in guides]


def _adapted(member: "LitGuidance", trained: "TrainedAdapters", mode: Mode) -> AbstractGuidance:
    from dreamfields.guidance.lit.mixed import AdaptedGuidance

    return AdaptedGuidance(member, trained.adapters, mode == "both", trained.identity)


def _load_adapters(settings: GuidanceSettings) -> "dict[str, TrainedAdapters] | None":
    """Return the adapters that guide, by tower; None in closed form."""
    if settings.mode == "closed-form":
        return None
    from dreamfields.guidance.lit.adapters import file_adapters, packaged_adapters

    if not settings.adapters:
        return {source.tower.name: packaged_adapters(source) for source in GUIDING_ADAPTERS}
    trained = {}
    for model_id in settings.adapters:
        found = file_adapters(Path(model_id))
        tower = found.adapters.tower
        if tower == JUDGE_TOWER.name:
            raise UsageError(
                f"{model_id} belongs to {tower}, which only judges and never guides; train for lite0 or lite2"
            )
        if tower in trained:
            raise UsageError(f"{model_id} belongs to {tower}, as another of the adapters does; give one file a tower")
        trained[tower] = found
    return trained
