"""Loading `lit`: two towers guide, and a third one, with adapters of its own, judges."""

import torch

from dreamfields.errors import UsageError
from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.guidance.ensemble import Member
from dreamfields.guidance.kinds import JudgeMode
from dreamfields.guidance.lit.adapters import AdaptedGuidance, Adapters, packaged_adapters, read_adapters
from dreamfields.guidance.lit.closed_form import LitGuidance, class_sentences
from dreamfields.guidance.lit.fronts import packaged_probe
from dreamfields.guidance.lit.towers import SentenceEncoder, Tower
from dreamfields.guidance.lit.weights import GUIDING_ADAPTERS, GUIDING_TOWERS, JUDGE_ADAPTERS, JUDGE_TOWER
from dreamfields.guidance.prompts import wordings
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.storage import user_path


def load_guides(_: Member, settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    """Load the towers that guide, each with the same weight.

    Raises MissingPackageError: weights or adapters are missing, or are not the recorded ones; UsageError: an adapters
    file belongs to the judge's tower, or two files belong to one tower.
    """
    trained = {} if settings.mode == "closed-form" else _load_adapters(settings)
    sentences = SentenceEncoder()
    classes = class_sentences(sentences, wordings(settings.template)[0])
    # Adapters of one's own may not tell sides, and the closed form tells none.
    fronts = None if settings.adapters or not trained else packaged_probe()
    guides: list[AbstractGuidance] = []
    for source in GUIDING_TOWERS:
        if trained and source.name not in trained:
            continue
        guide = LitGuidance(Tower(source), sentences, classes, "classes", settings.image_size, settings.size_jitter)
        adapters = trained.get(source.name)
        mixed = settings.mode == "both"
        guides.append(guide if adapters is None else AdaptedGuidance(guide, adapters, mixed, fronts))
    return [Guide(guide.to(device), weight=1.0 / len(guides)) for guide in guides]


def load_judge(_: Member, mode: JudgeMode, device: torch.device) -> AbstractGuidance:
    """Load the tower that never guides, at the image size it was trained at: both bridges in closed form, or adapters.

    Raises MissingPackageError: weights or adapters are missing, or are not the recorded ones.
    """
    sentences = SentenceEncoder()
    classes = class_sentences(sentences, GuidanceSettings().template)
    closed_form = LitGuidance(Tower(JUDGE_TOWER), sentences, classes, "both", JUDGE_TOWER.native_size)
    if mode == "closed-form":
        return closed_form.to(device)
    return AdaptedGuidance(closed_form, packaged_adapters(JUDGE_ADAPTERS), both=False).to(device)


def _load_adapters(settings: GuidanceSettings) -> dict[str, Adapters]:
    """Return the adapters that guide, by the name of their tower."""
    if not settings.adapters:
        return {source.tower.name: packaged_adapters(source) for source in GUIDING_ADAPTERS}
    trained: dict[str, Adapters] = {}
    for path in settings.adapters:
        adapters = read_adapters(user_path(path))
        if (tower := adapters.tower) == JUDGE_TOWER.name:
            raise UsageError(f"{path} belongs to {tower}, which only judges and never guides; train for lite0 or lite2")
        if tower in trained:
            raise UsageError(f"{path} belongs to {tower}, as another of the adapters does; give one file a tower")
        trained[tower] = adapters
    return trained
