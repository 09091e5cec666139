"""Judging held-out views of an object: by a classifier of nouns that never guides, and by any judge with sentences.

The views are those of the paper's test camera (elevation 45, distance 4, field of view 39.6: Dream Fields, appendix)
from eight azimuths, over white, grey and black. The classifier, EfficientNet-Lite1, shares its training data, but no
weights, with the towers that guide. Its answer for a view is the class with the highest probability, averaged over the
backgrounds. It does not notice whether an object has one face or four; look at the images too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import UsageError
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.lit.towers import SentenceEncoder, Tower, class_names
from dreamfields.guidance.lit.weights import JUDGE_TOWER
from dreamfields.render.occupancy import visible_cells
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.scene.cameras import Camera, turntable
from dreamfields.scene.fields.base import AbstractField
from dreamfields.settings import unknown_name

ELEVATION_DEG = 45.0
FOV_DEG = 39.6
VIEWS = 8
BACKGROUNDS = (1.0, 0.5, 0.0)


@dataclass(frozen=True)
class ViewJudgement:
    """The judgement of one view."""

    azimuth_deg: float
    probability: float  # Sum over the right classes, averaged over the backgrounds, in [0, 1]
    answer: str  # The most likely class
    top1: bool  # Whether the answer is a right class
    top5: bool  # Whether one of the five most likely classes is right


@dataclass(frozen=True)
class Judgement:
    """The judgement of an object."""

    judge: str
    classes: tuple[str, ...]  # The class names that count as right
    views: tuple[ViewJudgement, ...]

    @property
    def top1(self) -> int:
        """Return the number of views whose answer is right."""
        return sum(view.top1 for view in self.views)

    @property
    def top5(self) -> int:
        """Return the number of views with a right class among the five most likely."""
        return sum(view.top5 for view in self.views)

    @property
    def probability(self) -> float:
        """Return the mean probability of the right classes, in [0, 1]."""
        return sum(view.probability for view in self.views) / len(self.views)


@final
class Judge:
    """The held-out classifier, loaded once for many objects."""

    name = f"lit-{JUDGE_TOWER.name}"
    identity = ""

    def __init__(self, device: torch.device) -> None:
        """Load the judge's tower. Raises MissingPackageError: its weights are not installed."""
        self.device = device
        self.tower = Tower(JUDGE_TOWER).to(device)

    def judge(
        self, field: AbstractField, classes: Sequence[str], samples: int = 96, size: int | None = None
    ) -> Judgement:
        """Judge a field by its right classes in all held-out views, `size` pixels a side (by default the tower's own).

        Raises UsageError: a name is not one of the 1000 classes; the nearest is offered.
        """
        right, native, views = class_indices(classes), JUDGE_TOWER.native_size, []
        renderings = held_out_renderings(field, size or native, samples)
        for camera, rendering in zip(held_out_cameras(), renderings, strict=True):
            images = _on_backgrounds(rendering).to(self.device)
            if images.shape[-1] != native:
                images = functional.interpolate(images, size=(native, native), mode="bilinear")
            views.append(judge_view(self.probabilities(images), right, camera.azimuth_deg))
        return Judgement(JUDGE_TOWER.name, tuple(classes), tuple(views))

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Return the class probabilities (1000,) of images (b, 3, h, w) in [0, 1], averaged over them."""
        return functional.softmax(self.tower.logits(self.tower.features(images)), dim=-1).mean(dim=0)

    @torch.no_grad()
    def centred_features(self, views: Sequence[Rendering]) -> Tensor:
        """Return the tower's features (v, f) of v views less its mean over photographs, averaged over backgrounds."""
        seen = [self.tower.features(_on_backgrounds(view).to(self.device)).mean(dim=0) for view in views]
        return (torch.stack(seen) - self.tower.feature_mean).cpu()


@torch.no_grad()
def similarities(judge: AbstractGuidance, views: Sequence[Rendering], sentences: Sequence[str]) -> Tensor:
    """Return cosines (v, t) of v views and t sentences, each the mean over the backgrounds."""
    texts = judge.encode_text(sentences)
    images = [_on_backgrounds(view).to(texts.device) for view in views]
    return torch.stack([(judge.encode_image(one) @ texts.T).mean(dim=0) for one in images]).cpu()


def held_out_cameras() -> list[Camera]:
    """Return the cameras of the judges; no training camera has their elevation."""
    return turntable(VIEWS, ELEVATION_DEG, FOV_DEG)


def held_out_renderings(field: AbstractField, size: int, samples: int = 96) -> list[Rendering]:
    """Render a field from all held-out cameras, without a background."""
    occupancy = visible_cells(field)
    return [render_still(field, camera, size, samples, occupancy=occupancy) for camera in held_out_cameras()]


def judge_view(probabilities: Tensor, right: Sequence[int], azimuth_deg: float) -> ViewJudgement:
    """Compare class probabilities (1000,) of one view with the right classes."""
    best = probabilities.topk(5).indices.tolist()
    top1, top5 = best[0] in right, any(index in right for index in best)
    return ViewJudgement(azimuth_deg, float(probabilities[list(right)].sum()), class_names()[best[0]], top1, top5)


def class_indices(classes: Sequence[str]) -> list[int]:
    """Return the indices of class names; a name of two classes gives both.

    Raises UsageError: a name is not one of the 1000 classes; the nearest is offered.
    """
    names = class_names()
    if unknown := [unknown_name(name, list(names), "ImageNet class") for name in classes if name not in names]:
        raise UsageError("; ".join(unknown))
    return [index for index, name in enumerate(names) if name in classes]


def nearest_class(prompt: str) -> str:
    """Return the class name whose sentence embedding is nearest to the prompt's."""
    encoder = SentenceEncoder()
    similarity = encoder.encode([prompt]) @ encoder.encode([f"a {name}" for name in class_names()]).T
    return class_names()[int(similarity.argmax())]


def _on_backgrounds(view: Rendering) -> Tensor:
    return torch.cat([view.over(background) for background in BACKGROUNDS])
