"""The paper's augmentation: where crops are taken, backgrounds at the guide's size, and the two ways to composite."""

import math

import pytest
import torch

from dreamfields.render import crops
from dreamfields.render.backgrounds import gaussian_blur
from dreamfields.render.renderer import Rendering
from dreamfields.render.settings import BackgroundSettings

CPU = torch.device("cpu")


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinates(size: int = 12) -> Rendering:
    """A view whose red is the column and whose green the row; its opacity is the row as well."""
    row, column = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    return Rendering(torch.stack([column, row, 0 * row])[None], row[None, None], row[None, None])


def test_crops_are_squares_of_the_view_at_every_offset_but_the_last() -> None:
    view, crop, size = coordinates(), 9, 12
    cut = crops.crop_views(view, crop, 200, crop, draws())
    assert cut.colour.shape == (200, 3, crop, crop)
    columns = {round(float(one[0, 0, 0]) * size) for one in cut.colour}
    rows = {round(float(one[1, 0, 0]) * size) for one in cut.colour}
    assert columns == rows == {0, 1, 2}  # of 12 - 9 + 1 offsets, as in the released code
    x, y = (round(float(cut.colour[7, channel, 0, 0]) * size) for channel in (0, 1))
    assert torch.equal(cut.colour[7], view.colour[0, :, y : y + crop, x : x + crop])
    assert torch.equal(cut.opacity[7], view.opacity[0, :, y : y + crop, x : x + crop])


def test_a_crop_as_large_as_the_view_is_the_view_and_enlarging_keeps_its_mean() -> None:
    view = coordinates()
    assert torch.equal(crops.crop_views(view, 12, 1, 12, draws()).colour, view.colour)
    grown = crops.crop_views(view, 12, 1, 36, draws()).colour
    assert grown.shape[-1] == 36
    assert torch.allclose(grown.mean(dim=(2, 3)), view.colour.mean(dim=(2, 3)), atol=1e-5)


def test_copies_have_crops_of_their_own_and_views_stay_in_order() -> None:
    views = Rendering(*(torch.cat([part, 0 * part]) for part in vars(coordinates()).values()))
    cut = crops.crop_views(views, 6, 3, 6, draws())
    assert [bool(one.any()) for one in cut.colour] == [True, False] * 3
    assert len({one[:2, 0, 0].tolist().__repr__() for one in cut.colour[::2]}) > 1


def test_gradients_reach_the_pixels_of_the_crop_alone() -> None:
    view = coordinates()
    view.colour.requires_grad_()
    crops.crop_views(view, 6, 1, 6, draws()).colour.sum().backward()
    assert view.colour.grad is not None
    assert float(view.colour.grad.sum()) == pytest.approx(3 * 36)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_double_alpha_darkens_what_is_neither_clear_nor_opaque(opacity: float) -> None:
    """By hand: plain is a c + (1 - a) b; the released code's is a (a c) + (1 - a) b, for c = 0.8 and b = 0.5."""
    colour, alpha = torch.full((1, 3, 2, 2), 0.8 * opacity), torch.full((1, 1, 2, 2), opacity)
    view = Rendering(colour, alpha, alpha)
    assert view.over(0.5).mean().item() == pytest.approx(0.8 * opacity + 0.5 * (1.0 - opacity))
    assert crops.double(view).over(0.5).mean().item() == pytest.approx(0.8 * opacity**2 + 0.5 * (1.0 - opacity))


def drawn(count: int, **weights: float) -> torch.Tensor:
    none = {"noise": 0.0, "checkerboard": 0.0, "fourier": 0.0, "plain": 0.0, "blur": (0.0, 0.0)}
    settings = BackgroundSettings(**(none | weights))  # type: ignore[arg-type]
    return crops.draw_backgrounds(settings, count, 16, draws(), CPU)


def test_every_kind_of_background_is_what_it_says() -> None:
    noise = drawn(20, noise=1.0)
    assert noise.mean().item() == pytest.approx(0.5, abs=0.02)
    assert noise.var().item() == pytest.approx(1 / 12, abs=0.005)
    board = drawn(1, checkerboard=1.0)[0]
    assert torch.equal(board[:, :2, :2], board[:, 2:4, 2:4])
    assert len({tuple(pixel.tolist()) for pixel in board.flatten(1).T}) == 2
    assert drawn(1, plain=1.0)[0].flatten(1).std(dim=1).max() == 0.0
    assert not drawn(3, black=1.0).any()
    texture = drawn(40, fourier=1.0)
    neighbours = (texture[..., 1:] - texture[..., :-1]).abs().mean()
    assert 0.0 < float(neighbours) < 0.7 * float(texture.std())  # noise has 1.15


def test_kinds_come_in_their_proportions() -> None:
    pictures = drawn(900, black=1.0, plain=2.0)
    black = sum(not bool(one.any()) for one in pictures)
    assert 240 < black < 360  # 300 with a deviation of 14


def test_a_blur_that_is_cut_off_stays_a_mean() -> None:
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(gaussian_blur(flat, torch.tensor([5.0]), 2), flat)
    spike = torch.zeros(1, 3, 31, 31)
    spike[..., 15, 15] = 1.0
    spread = gaussian_blur(spike, torch.tensor([10.0]), 7)[0, 0]
    assert int((spread > 0.0).sum()) == 15 * 15
    assert spread.sum().item() == pytest.approx(1.0, abs=1e-5)
    ratio = float(spread[15, 22] / spread[15, 15])
    assert ratio == pytest.approx(math.exp(-0.5 * 0.7**2), rel=1e-4)
