"""Retrieval: does a judge find an object's own caption among 153? (R-Precision; Dream Fields sec. 4.1).

One held-out view of each object (elevation 45 where training has 30; over white) is compared with all captions. R@1 is
the fraction of objects whose own caption is nearest, R@5 that of objects whose own is among the five nearest. A prompt
that is no caption is added to them. The same is measured without colours (DreamFusion sec. 4). The captions are the
object-centric ones of COCO that the paper's code lists: google-research/dreamfields, config/coco_queries_val.py
(Apache-2.0), by COCO's annotators (CC BY 4.0).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import torch
from torch import Tensor

from dreamfields import paper
from dreamfields.errors import UsageError
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.render.occupancy import visible_cells
from dreamfields.render.renderer import render_still
from dreamfields.render.shading import ShadedField, light_beside
from dreamfields.reprs import short_repr
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField


@dataclass(frozen=True)
class Candidate:
    """An object to be judged."""

    name: str
    prompt: str
    field: AbstractField
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)  # The point that the last training cameras looked at

    __repr__ = short_repr


@dataclass(frozen=True)
class ImagePair:
    """The held-out view of an object, twice: (3, s, s) in [0, 1], over white."""

    name: str
    prompt: str
    colour: Tensor
    textureless: Tensor

    __repr__ = short_repr


@dataclass(frozen=True)
class Found:
    """The captions that a judge finds for one image."""

    rank: int  # Of its own caption, from 1
    similarity: float  # Cosine of the image and its own caption
    nearest: str  # The caption nearest to the image


@dataclass(frozen=True)
class Judged:
    """An object with its caption and what the judge finds for both images."""

    images: ImagePair
    caption: str
    colour: Found
    textureless: Found

    __repr__ = short_repr


@dataclass(frozen=True)
class Fraction:
    """A fraction p of n objects; its standard error is sqrt(p (1 - p) / n)."""

    value: float
    objects: int

    @property
    def error(self) -> float:
        """Return the standard error."""
        return math.sqrt(self.value * (1.0 - self.value) / self.objects)


@dataclass(frozen=True)
class Retrieval:
    """The result for several objects."""

    judge: str
    captions: int  # Number of captions to choose from
    objects: tuple[Judged, ...]

    __repr__ = short_repr

    def fraction(self, within: int, textureless: bool = False) -> Fraction:
        """Return R@within of the images with colours, or of the textureless ones."""
        ranks = [(one.textureless if textureless else one.colour).rank for one in self.objects]
        return Fraction(sum(rank <= within for rank in ranks) / len(ranks), len(ranks))

    def chance(self, within: int) -> float:
        """Return R@within of a judge that guesses."""
        return min(within / self.captions, 1.0)


@cache
def captions() -> tuple[str, ...]:
    """Return the captions, normalised and distinct, in the paper's order."""
    text = (resources.files("dreamfields.evaluate") / "data" / "coco_captions.txt").read_text(encoding="utf-8")
    return tuple(normalised(line) for line in text.splitlines() if line.strip())


def normalised(caption: str) -> str:
    """Return a caption in lower case, without spaces, dots and commas around it, with one final dot."""
    return caption.lower().strip(" .,\t") + "."


def judge_objects(judge: AbstractGuidance, candidates: Sequence[Candidate], samples: int) -> Retrieval:
    """Render objects with `samples` samples a ray and judge them. Raises UsageError: there is no object."""
    if not candidates:
        raise UsageError("there is no run to judge; name folders of runs: dreamfields evaluate retrieval RUNS...")
    return judge_images(judge, (render_pair(one, judge.image_size, samples) for one in candidates))


def judge_images(judge: AbstractGuidance, pairs: Iterable[ImagePair]) -> Retrieval:
    """Judge images of the judge's size."""
    known = captions()
    embeddings = judge.encode_text(known)
    judged = []
    for pair in pairs:
        own = normalised(pair.prompt)
        names, texts = known, embeddings
        if own not in known:
            names, texts = (*known, own), torch.cat([embeddings, judge.encode_text([own])])
        with torch.no_grad():
            images = judge.encode_image(torch.stack([pair.colour, pair.textureless]).to(texts.device))
        colour, textureless = (rank(similarities, names, own) for similarities in images @ texts.T)
        judged.append(Judged(pair, own, colour, textureless))
    return Retrieval(judge.name, len(known), tuple(judged))


def render_pair(candidate: Candidate, size: int, samples: int) -> ImagePair:
    """Render the held-out view of an object with and without colours."""
    azimuth = paper.TEST_AZIMUTH_DEG
    camera = Camera(azimuth, paper.TEST_ELEVATION_DEG, fov_deg=paper.TEST_FOV_DEG, target=candidate.target)
    occupancy = visible_cells(candidate.field)

    def image(field: AbstractField) -> Tensor:
        return render_still(field, camera, size, samples, occupancy=occupancy).over(1.0)[0].clamp(0.0, 1.0)

    textureless = ShadedField(candidate.field, light_beside(azimuth))
    return ImagePair(candidate.name, candidate.prompt, image(candidate.field), image(textureless))


def rank(similarities: Tensor, names: Sequence[str], own: str) -> Found:
    """Rank an image's own caption by the similarities (c,) of c captions; a tie counts against it."""
    index = names.index(own)
    others = torch.cat([similarities[:index], similarities[index + 1 :]])
    place = 1 + int((others >= similarities[index]).sum())
    return Found(place, float(similarities[index]), names[int(similarities.argmax())])
