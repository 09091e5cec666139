"""Questions about held-out 3D models: which of several sentences belongs to a picture?

Held-out models have names that no adapters of this package were trained on. Asked are the colour word against another,
the name among all held-out names, with and without colours, and the side that is seen of a thing with a front.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import Tensor

from dreamfields.guidance.prompts import SIDES, view_of
from dreamfields.optimize.randomness import derive_seed
from dreamfields.train.colours import NAMED
from dreamfields.train.looks import Look, Shape
from dreamfields.train.pairs import Pair
from dreamfields.train.shapes import ShapeSet

_LIVING: Final = ("animal", "character")


@dataclass(frozen=True)
class Question:
    """One picture, and sentences of which the first is true of it and the others are not."""

    picture: int  # Index among the held-out pictures
    sentences: tuple[str, ...]


def questions(pictures: ShapeSet, pairs: Sequence[Pair]) -> Mapping[str, list[Question]]:
    """Return the questions about pictures, by kind."""
    names = dict[str, str]()
    for pair in pairs:
        shape = pictures.shapes[pair.group]
        names.setdefault(shape.name, shape.of(shape.name))
    found = dict[str, list[Question]]()
    for index, pair in enumerate(pairs):
        shape, look = pictures.shapes[pair.group], pictures.looks[pair.image]
        asked = {"name, textureless" if look.textureless else "name": _named(shape, names)}
        asked |= _about_colour(shape, look, pair) | _about_side(shape, look)
        for kind, sentences in asked.items():
            found.setdefault(kind, []).append(Question(index, sentences))
    return dict(sorted(found.items()))


def answered(asked: Sequence[Question], sentences: Sequence[str], logits: Tensor, within: int = 1) -> float:
    """Return the fraction of questions whose true sentence is among the first by the logits (n, s); ties are misses.

    The logits are of n pictures and all s `sentences`.
    """
    place = {sentence: index for index, sentence in enumerate(sentences)}
    right = 0
    for question in asked:
        scores = logits[question.picture, [place[sentence] for sentence in question.sentences]]
        right += int((scores >= scores[0]).sum()) <= within
    return right / len(asked)


def chance(asked: Sequence[Question], within: int = 1) -> float:
    """Return the fraction of questions that guessing answers."""
    return sum(min(1.0, within / len(question.sentences)) for question in asked) / len(asked)


def _named(shape: Shape, names: Mapping[str, str]) -> tuple[str, ...]:
    return names[shape.name], *(sentence for name, sentence in names.items() if name != shape.name)


def _about_colour(shape: Shape, look: Look, pair: Pair) -> dict[str, tuple[str, ...]]:
    """Return the right colour word and one that the thing has not, for a picture whose first caption says a colour."""
    word = look.paint or (shape.colours[0] if shape.colours else "")
    if look.textureless or word not in NAMED or f"{word} " not in pair.texts[0] or "clothes" in pair.texts[0]:
        return {}
    shown = {colour.split()[-1] for colour in (word, *shape.colours)}
    others = [other for other in NAMED if other.split()[-1] not in shown]
    draws = np.random.default_rng(derive_seed(0, f"other colour of {pair.image}"))
    return {"colour": tuple(shape.of(f"{colour} {shape.name}") for colour in (word, str(draws.choice(others))))}


def _about_side(shape: Shape, look: Look) -> dict[str, tuple[str, ...]]:
    """Return the side that is seen and the two others, and for the front and the back which of the two it is."""
    if not look.side:
        return {}
    kind = "animals and characters" if shape.category in _LIVING else "furniture and vehicles"
    views = {side: view_of(side, shape.of(shape.name)) for side in SIDES}
    seen = views.pop(look.side)
    found = {f"side, {kind}": (seen, *views.values())}
    if look.side != "side":
        other = "back" if look.side == "front" else "front"
        found[f"front or back, {kind}"] = (seen, views[other])
    return found
