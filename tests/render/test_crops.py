"""The paper's augmentation: where crops are taken, how they are enlarged, and the paper's way to composite."""

import pytest
import torch

from dreamfields.render.compose import crop_views, double
from dreamfields.render.renderer import Rendering
from tests.support.fields import seeded


def coordinates(size: int = 12) -> Rendering:
    """Return a view whose red is the column and whose green the row; its opacity is the row as well."""
    row, column = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    return Rendering(torch.stack([column, row, 0 * row])[None], row[None, None], row[None, None])


def test_crops_are_squares_of_the_view_at_every_offset_but_the_last() -> None:
    view, crop, size = coordinates(), 9, 12
    cut = crop_views(view, crop, 200, crop, seeded())
    assert cut.colour.shape == (200, 3, crop, crop)
    columns = {round(float(one[0, 0, 0]) * size) for one in cut.colour}
    rows = {round(float(one[1, 0, 0]) * size) for one in cut.colour}
    assert columns == rows == {0, 1, 2}  # of 12 - 9 + 1 offsets, as in the released code
    x, y = (round(float(cut.colour[7, channel, 0, 0]) * size) for channel in (0, 1))
    assert torch.equal(cut.colour[7], view.colour[0, :, y : y + crop, x : x + crop])
    assert torch.equal(cut.opacity[7], view.opacity[0, :, y : y + crop, x : x + crop])


def test_a_crop_as_large_as_the_view_is_the_view_and_enlarging_keeps_its_mean() -> None:
    view = coordinates()
    assert torch.equal(crop_views(view, 12, 1, 12, seeded()).colour, view.colour)
    enlarged = crop_views(view, 12, 1, 36, seeded()).colour
    assert enlarged.shape[-1] == 36
    assert torch.allclose(enlarged.mean(dim=(2, 3)), view.colour.mean(dim=(2, 3)), atol=1e-5)


def test_each_copy_has_its_own_crop_and_views_stay_in_order() -> None:
    views = Rendering(*(torch.cat([part, 0 * part]) for part in vars(coordinates()).values()))
    cut = crop_views(views, 6, 3, 6, seeded())
    assert [bool(one.any()) for one in cut.colour] == [True, False] * 3
    assert len({one[:2, 0, 0].tolist().__repr__() for one in cut.colour[::2]}) > 1


def test_gradients_reach_the_pixels_of_the_crop_alone() -> None:
    view = coordinates()
    view.colour.requires_grad_()
    crop_views(view, 6, 1, 6, seeded()).colour.sum().backward()
    assert view.colour.grad is not None
    assert float(view.colour.grad.sum()) == pytest.approx(3 * 36)


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_compositing_twice_darkens_what_is_neither_clear_nor_opaque(opacity: float) -> None:
    """By hand: plain is a c + (1 - a) b; the released code's is a (a c) + (1 - a) b, for c = 0.8 and b = 0.5."""
    colour, alpha = torch.full((1, 3, 2, 2), 0.8 * opacity), torch.full((1, 1, 2, 2), opacity)
    view = Rendering(colour, alpha, alpha)
    assert view.over(0.5).mean().item() == pytest.approx(0.8 * opacity + 0.5 * (1.0 - opacity))
    assert double(view).over(0.5).mean().item() == pytest.approx(0.8 * opacity**2 + 0.5 * (1.0 - opacity))
