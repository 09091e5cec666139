"""Views: a cut-out leaves its backdrop, a photograph keeps its middle, and all is decided by the generator."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dreamfields.train.views import PLAIN, PLAIN_SIZE, VARIED_SIZE, backdrop, middle_square, show
from tests.support.sets import picture


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photograph(height: int = 90, width: int = 120) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def as_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255.0


def test_the_backdrop_is_what_is_connected_to_the_border() -> None:
    pixels = as_tensor(picture("red", "square"))
    pixels[:, 20:24, 20:24] = 1.0  # A white spot on the object is no backdrop.
    mask = backdrop(pixels)
    assert mask is not None
    expected = torch.ones(48, 48)
    expected[12:37, 12:37] = 0.0
    assert torch.equal(mask, expected)


def test_a_photograph_or_an_empty_picture_has_no_backdrop() -> None:
    assert backdrop(as_tensor(photograph())) is None
    assert backdrop(torch.full((3, 40, 40), 0.8)) is None


def test_a_cut_out_is_never_shown_on_its_own_backdrop() -> None:
    shown = [show(picture("blue", "disc"), view, draws(seed)) for view in (0, 1) for seed in range(8)]
    whites = [float((pixels > 0.97).all(dim=0).float().mean()) for pixels in shown]
    assert max(whites) < 0.5
    for pixels in shown:
        assert pixels.shape == (3, VARIED_SIZE, VARIED_SIZE)
        blue = (pixels[2] > 0.9) & (pixels[0] < 0.1) & (pixels[1] < 0.1)
        assert 0.2 < blue.float().mean() < 0.95
    assert show(picture("blue", "disc"), PLAIN, draws()).mean(dim=0)[0, 0] == 1.0


def test_a_photograph_is_shown_as_its_middle_and_then_as_a_part() -> None:
    image = photograph()
    plain = show(image, 0, draws())
    assert plain.shape == (3, PLAIN_SIZE, PLAIN_SIZE)
    assert torch.equal(plain, show(image, PLAIN, draws(5)))
    assert torch.equal(middle_square(as_tensor(image)), as_tensor(image)[:, :, 15:105])
    varied = show(image, 1, draws())
    assert varied.shape == (3, VARIED_SIZE, VARIED_SIZE)
    assert torch.equal(varied, show(image, 1, draws()))
    assert not torch.equal(varied, show(image, 1, draws(1)))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 50), (300, 2), (7, 7)])
@pytest.mark.parametrize("view", [PLAIN, 0, 1])
def test_pictures_of_any_shape_are_shown_within_range(width: int, height: int, view: int) -> None:
    for image in (photograph(height, width), Image.new("RGB", (width, height), "white")):
        shown = show(image, view, draws())
        assert shown.shape[1] == shown.shape[2]
        assert shown.min() >= 0.0
        assert shown.max() <= 1.0
