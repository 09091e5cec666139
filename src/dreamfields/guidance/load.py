"""From settings to guides: the one table of what guidance there is."""

import torch

from dreamfields.guidance.base import Guide
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.guidance.weights import GUIDING_TOWERS


def load_guides(settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    """Load the models that the settings name onto a device.

    Raises:
        MissingPackageError: weights are not installed.
    """
    match settings.name:
        case "lit":
            return _load_lit(settings, device)
        case "toy":
            from dreamfields.guidance.toy import ToyGuidance

            return [Guide(ToyGuidance(settings.image_size).to(device))]


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
