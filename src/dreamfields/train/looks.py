"""What the pictures of a 3D model show, and the sentences that are true of each.

Words of colour, names and sides are learned apart only if they vary apart: a model is shown in its own colours, painted
in others, and textureless, and a picture has several captions, of which training draws one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dreamfields.guidance.prompts import view_of
from dreamfields.optimize.randomness import derive_seed
from dreamfields.train.colours import NAMED

COLOURED, PAINTED, TEXTURELESS = 4, 2, 1  # Pictures of a model
_TEMPLATES: Final = ("a 3D render of {}", "a 3D model of {}", "a photo of {}", "a picture of {}")
WORDINGS: Final = {
    "front": ("the front of {}", "{} seen from the front", view_of("front", "{}")),
    "side": ("the side of {}", "{} seen from the side", view_of("side", "{}")),
    "back": ("the back of {}", "{} seen from behind", view_of("back", "{}")),
}
"""Wordings for what a camera sees of a thing whose front is known."""
SIDED: Final = (
    "animal",
    "character",
    "furniture",
    "vehicle",
)  # Categories of things whose front is told from their back
_SQUARE_ON: Final = 32.0  # Largest azimuth from straight ahead, straight behind or straight beside in degrees
# Names that say a colour, or people, of whom the clothes would have to be painted: these are shown as they are.
_UNPAINTED: Final = re.compile(r"\b(gold|golden|silver|rainbow|colou?rful|" + "|".join(NAMED) + r")\b")


@dataclass(frozen=True)
class Shape:
    """A model in a set, without its surface."""

    file: str
    name: str
    captions: tuple[str, ...]  # Of the model in its own colours
    colours: tuple[str, ...]  # Words, the most seen first
    category: str
    front_deg: float | None  # Azimuth from which its front is seen; None where it is not known
    licence: str = ""  # As its source states it; "" where the set says nothing
    repainted: bool = False  # Whether it is another model in other colours
    author: str = ""
    found_at: str = ""  # Its address, or the collection that it is from

    def of(self, words: str) -> str:
        """Return a caption with the article of this model's own: "a", "an", "some" or none."""
        if any(caption.startswith("some ") for caption in self.captions):
            return f"some {words}"
        if any(re.match("an? ", caption) for caption in self.captions):
            known = next((one for one in self.captions if re.fullmatch(f"an? {re.escape(words)}", one)), None)
            return known or f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"
        return words


@dataclass(frozen=True)
class Look:
    """One picture of a model."""

    azimuth_deg: float  # Of the camera, but for a little chance
    captions: tuple[str, ...]
    paint: str = ""  # Colour that the model, or its largest part, is painted in; "" for its own colours
    whole: bool = True  # Whether all of it is painted
    textureless: bool = False
    side: str = ""  # Which of `prompts.SIDES` is seen; "" where that cannot be said


def looks(shape: Shape) -> list[Look]:
    """Return the pictures of a model; all chance comes from the name of its file."""
    draws, words = (np.random.default_rng(derive_seed(0, f"{what} of {shape.file}")) for what in ("looks", "words"))
    painted = 0 if unpainted(shape) else PAINTED
    coloured = COLOURED + PAINTED - painted
    count = coloured + painted + TEXTURELESS
    azimuths = (draws.uniform(0.0, 360.0) + 360.0 * draws.permutation(count) / count) % 360.0
    paints = draws.choice([word for word in NAMED if word not in shape.colours], painted, replace=False).tolist()
    found = []
    for index, azimuth in enumerate(azimuths.tolist()):
        paint = paints[index - coloured] if coloured <= index < coloured + painted else ""
        textureless, whole = index >= coloured + painted, bool(draws.random() < 0.5)
        plain = shape.of(shape.name)
        subjects = (shape.of(f"{paint} {shape.name}"), plain) if paint else (plain,) if textureless else shape.captions
        side = "" if shape.front_deg is None else side_seen(azimuth - shape.front_deg)
        found.append(Look(azimuth, worded(subjects, side, words), paint, whole, textureless, side))
    return found


def unpainted(shape: Shape) -> bool:
    """Return whether a model is never painted: its name says a colour, or its captions speak of clothes."""
    return bool(_UNPAINTED.search(shape.name)) or any("clothes" in caption for caption in shape.captions)


def side_seen(azimuth_deg: float) -> str:
    """Return which side a camera at an azimuth from the front sees: one of `prompts.SIDES`, or "" in between."""
    off = abs((azimuth_deg + 180.0) % 360.0 - 180.0)
    sides = {"front": off, "side": abs(off - 90.0), "back": 180.0 - off}
    nearest = min(sides, key=lambda side: sides[side])
    return nearest if sides[nearest] <= _SQUARE_ON else ""


def worded(subjects: Sequence[str], side: str, draws: np.random.Generator) -> tuple[str, ...]:
    """Return captions: the subjects, one of them in a template, and with the side that is seen in each wording."""
    templated = str(draws.choice(_TEMPLATES)).format(draws.choice(subjects))
    sided = [wording.format(draws.choice(subjects)) for wording in WORDINGS[side]] if side else []
    return (*dict.fromkeys([*subjects, templated, *sided]),)
