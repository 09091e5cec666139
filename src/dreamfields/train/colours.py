"""Named colours: repainting an object's colours, and naming them.

Colours are compared in OKLab (Ottosson, 2020), whose distances are about as large as people see them. Notation: n
colours (n, 3) sRGB in [0, 1]; L, a, b the lightness in [0, 1] and the two hues in OKLab.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

NAMED: Final[Mapping[str, tuple[int, int, int]]] = {
    "red": (200, 30, 35),
    "dark red": (110, 15, 20),
    "orange": (235, 125, 30),
    "yellow": (240, 205, 50),
    "green": (60, 150, 60),
    "dark green": (25, 80, 40),
    "teal": (25, 145, 140),
    "light blue": (130, 190, 230),
    "blue": (35, 85, 200),
    "dark blue": (20, 35, 100),
    "purple": (120, 50, 160),
    "pink": (240, 140, 180),
    "brown": (120, 75, 40),
    "beige": (220, 200, 165),
    "white": (240, 240, 240),
    "grey": (135, 135, 135),
    "black": (30, 30, 32),
}
"""What a colour word looks like, sRGB in bytes."""

_ALIKE: Final = 0.15  # Distance in OKLab within which two colours belong to the same part
_CONTRAST: Final = 0.6  # How much of the differences in lightness a painted part keeps

_TO_LMS: Final = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
_TO_LAB: Final = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])


def oklab(colours: Floats) -> Floats:
    """Return L, a, b (n, 3) of sRGB colours (n, 3) in [0, 1]."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    lab: Floats = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab


def from_oklab(lab: Floats) -> Floats:
    """Return sRGB colours (n, 3) in [0, 1] of L, a, b (n, 3); those beyond sRGB are clipped."""
    linear = np.clip((lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def named(word: str) -> Floats:
    """Return L, a, b (3,) of a colour word."""
    lab: Floats = oklab(np.array([NAMED[word]]) / 255.0)[0]
    return lab


def main_part(colours: Floats, areas: Floats) -> NDArray[np.bool_]:
    """Return which of n colours (n, 3) with areas (n,) belong to the largest part of one colour."""
    lab = oklab(colours)
    cells, cell_of = np.unique(np.round(lab / 0.08).astype(int), axis=0, return_inverse=True)
    largest = np.bincount(cell_of.ravel(), areas, len(cells)).argmax()
    centre = np.median(lab[cell_of.ravel() == largest], axis=0)
    near: NDArray[np.bool_] = np.linalg.norm(lab - centre, axis=1) < _ALIKE
    return near


def painted(colours: Floats, part: NDArray[np.bool_], word: str, shift: Floats) -> Floats:
    """Return colours (n, 3) with a part of them painted in a named colour, moved by `shift` (3,) in OKLab.

    Differences in lightness within the part are kept, smaller.
    """
    lab, target = oklab(colours), named(word) + shift
    lightness = lab[part, 0]
    found = colours.copy()
    lightness = target[0] + _CONTRAST * (lightness - np.median(lightness))
    new = np.stack([lightness, np.full_like(lightness, target[1]), np.full_like(lightness, target[2])], axis=1)
    found[part] = from_oklab(np.clip(new, [0.0, -1.0, -1.0], 1.0))
    return found
