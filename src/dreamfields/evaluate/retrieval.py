"""Retrieval: does a judge find an object's own caption among 153? (R-Precision; Dream Fields sec. 4.1).

One held-out view of each object, from azimuth 30 and elevation 45 where training has 30, over white, is compared with
all captions; the share of objects whose own caption is nearest is R@1, or among the five nearest R@5. A prompt that is
none of the captions joins them. The same is asked of the object without its colours (DreamFusion sec. 4), where what is
guided by pictures alone is usually at chance.

Notation: n objects, c captions, p a share of the objects; its standard error is sqrt(p (1 - p) / n).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfields import paper
from dreamfields.errors import UsageError
from dreamfields.evaluate.captions import captions, normalised
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.render.occupancy import visible_cells
from dreamfields.render.renderer import render_still
from dreamfields.render.shading import ShadedField, light_beside
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField


@dataclass(frozen=True)
class Candidate:
    """An object to be judged."""

    name: str
    prompt: str
    field: AbstractField
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The point that its training cameras looked at last."""


@dataclass(frozen=True)
class Pictures:
    """What a judge is shown of an object."""

    name: str
    prompt: str
    colour: Tensor
    """(3, s, s) in [0, 1], over white."""
    geometry: Tensor
    """The same view of the shape without its colours."""


@dataclass(frozen=True)
class Found:
    """What the judge finds in one picture."""

    rank: int
    """Captions nearer to the picture than its own, plus 1."""
    similarity: float
    """Cosine of the picture and its own caption."""
    nearest: str
    """The caption nearest to the picture."""


@dataclass(frozen=True)
class Judged:
    """An object, its two pictures (3, s, s) in [0, 1], and what the judge finds in them."""

    name: str
    caption: str
    colour: Found
    geometry: Found
    colour_picture: Tensor
    geometry_picture: Tensor


@dataclass(frozen=True)
class Fraction:
    """A share of n objects."""

    value: float
    objects: int

    @property
    def error(self) -> float:
        """Return the standard error."""
        return math.sqrt(self.value * (1.0 - self.value) / self.objects)


@dataclass(frozen=True)
class Retrieval:
    """What a judge finds in several objects."""

    judge: str
    captions: int
    """How many there are to choose from."""
    objects: tuple[Judged, ...]

    def fraction(self, within: int, geometry: bool = False) -> Fraction:
        """Return R@within: of colour pictures, or of those without texture."""
        ranks = [(one.geometry if geometry else one.colour).rank for one in self.objects]
        return Fraction(sum(rank <= within for rank in ranks) / len(ranks), len(ranks))

    def chance(self, within: int) -> float:
        """Return R@within of a judge that guesses."""
        return min(within / self.captions, 1.0)


def check_judge(judge: AbstractGuidance, guides: Sequence[str], weights: Sequence[str], run: str) -> None:
    """Refuse a judge that guided a run, by its name or by the digest of its files.

    Raises:
        UsageError: it did; what it sees there is what it asked for.
    """
    if judge.name in guides or (judge.identity and judge.identity in weights):
        raise UsageError(
            f"{judge.name} guided {run}, so it cannot judge it: it would find what it asked for; "
            "name another model with --judge"
        )


def judge_objects(judge: AbstractGuidance, candidates: Sequence[Candidate], samples: int) -> Retrieval:
    """Let a judge look at objects, one after another.

    Raises:
        UsageError: there is no object.
    """
    if not candidates:
        raise UsageError("there is no run to judge; name folders of runs: dreamfields evaluate retrieval RUNS...")
    return judge_pictures(judge, (take_pictures(one, judge.image_size, samples) for one in candidates))


def take_pictures(candidate: Candidate, size: int, samples: int) -> Pictures:
    """Take the pictures that an object is judged by."""
    return Pictures(candidate.name, candidate.prompt, *held_out_views(candidate, size, samples))


def judge_pictures(judge: AbstractGuidance, objects: Iterable[Pictures]) -> Retrieval:
    """Let a judge look at pictures of its size."""
    known = captions()
    embeddings = judge.encode_text(known)
    judged = []
    for one in objects:
        own = normalised(one.prompt)
        names, texts = known, embeddings
        if own not in known:
            names, texts = (*known, own), torch.cat([embeddings, judge.encode_text([own])])
        with torch.no_grad():
            pictures = judge.encode_image(torch.stack([one.colour, one.geometry]).to(texts.device))
        found = [rank(similarities, names, own) for similarities in pictures @ texts.T]
        judged.append(Judged(one.name, own, found[0], found[1], one.colour.cpu(), one.geometry.cpu()))
    return Retrieval(judge.name, len(known), tuple(judged))


def held_out_views(candidate: Candidate, size: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return the view that was never trained on, with and without colours: (3, size, size) in [0, 1], over white."""
    camera = Camera(
        paper.TEST_AZIMUTH_DEG, paper.TEST_ELEVATION_DEG, fov_deg=paper.TEST_FOV_DEG, target=candidate.target
    )
    shaded = ShadedField(candidate.field, light_beside(paper.TEST_AZIMUTH_DEG))
    occupancy = visible_cells(candidate.field)

    def picture(field: AbstractField) -> Tensor:
        rendering = render_still(field, camera, size, samples, occupancy=occupancy)
        return rendering.over(1.0)[0].clamp(0.0, 1.0)

    return picture(candidate.field), picture(shaded)


def rank(similarities: Tensor, names: Sequence[str], own: str) -> Found:
    """Find the place of a picture's own caption, given the similarities (c,) of all; a tie counts against it."""
    index = names.index(own)
    others = torch.cat([similarities[:index], similarities[index + 1 :]])
    place = 1 + int((others >= similarities[index]).sum())
    return Found(place, float(similarities[index]), names[int(similarities.argmax())])
