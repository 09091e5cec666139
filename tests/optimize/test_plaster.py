"""The view in plaster: it is of the shape alone, teaches the shape alone, and is drawn from seed and step alone."""

import pytest
import torch
from torch import Tensor

from dreamfields.optimize.plaster import Plaster, look_at_plaster
from dreamfields.render.renderer import render
from dreamfields.render.shading import ShadedField
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.mlp import MlpField
from dreamfields.scene.fields.voxels import VoxelField
from tests.toys import TINY, TINY_MLP, new_state

CAMERAS = [Camera(0.0, 10.0), Camera(120.0, 10.0), Camera(240.0, 10.0)]


def voxels(colours: float = 0.0) -> VoxelField:
    """A field with an uneven shape, and other colours for other numbers."""
    field, draws = new_state(TINY).field, torch.Generator().manual_seed(0)
    assert isinstance(field, VoxelField)
    with torch.no_grad():
        for grid in field.grids:
            grid[..., 0] += 0.2 * torch.randn(grid.shape[:3], generator=draws)
            grid[..., 1:] += colours
    return field


def look(field: VoxelField | MlpField, seed: int = 0, step: int = 0) -> Plaster:
    return look_at_plaster(field, CAMERAS, TINY.render, None, seed, step)


def teach(plaster: Plaster) -> None:
    """Ask for some picture."""
    wanted = torch.rand(plaster.rendering.colour.shape, generator=torch.Generator().manual_seed(1))
    (wanted * plaster.rendering.colour).sum().backward()


def test_it_is_one_view_in_grey_whatever_the_colours() -> None:
    plain, painted = (look(voxels(colours)).rendering for colours in (0.0, 0.3))
    assert plain.colour.shape == (1, 3, TINY.render.size, TINY.render.size)
    assert torch.equal(plain.colour, painted.colour)
    assert torch.equal(plain.colour[:, 0], plain.colour[:, 2])
    assert float(plain.colour.detach().std()) > 0.02


def test_voxels_learn_their_density_from_it_and_no_colour() -> None:
    field = voxels()
    teach(look(field))
    for grid in field.grids:
        assert grid.grad is not None
        assert float(grid.grad[..., 0].abs().max()) > 0.0
        assert float(grid.grad[..., 1:].abs().max()) == 0.0


def test_a_network_s_colours_learn_nothing_from_it_either() -> None:
    field = new_state(TINY_MLP).field
    assert isinstance(field, MlpField)
    teach(look(field))
    assert field.head.weight.grad is not None
    assert float(field.head.weight.grad[3].abs().max()) > 0.0
    assert float(field.head.weight.grad[:3].abs().max()) == 0.0


def gradient(field: VoxelField, learns: bool) -> Tensor:
    field.zero_grad()
    shaded = ShadedField(field, (0.3, 0.8, 0.5), 8, learns=learns)
    (render(shaded, CAMERAS[:1], 12, 12).colour[..., :6]).sum().backward()
    found: Tensor | None = field.grids[0].grad
    assert found is not None
    of_density: Tensor = found[..., 0].clone()
    return of_density


def test_shades_teach_the_shape_only_where_they_are_to() -> None:
    field = voxels()
    assert not torch.allclose(gradient(field, True), gradient(field, False), rtol=0.1)
    assert ShadedField(field, (0.3, 0.8, 0.5), 8, learns=True).normals.requires_grad
    assert not ShadedField(field, (0.3, 0.8, 0.5), 8).normals.requires_grad


def test_the_gradient_of_the_shades_is_that_of_finite_differences() -> None:
    field = voxels()
    moved = (1, 1, 1)
    found = gradient(field, True)[moved]

    def value() -> float:
        with torch.no_grad():
            shaded = ShadedField(field, (0.3, 0.8, 0.5), 8, learns=True)
            return float(render(shaded, CAMERAS[:1], 12, 12).colour[..., :6].double().sum())

    ends, step = [], 2e-3
    for sign in (1.0, -1.0):
        with torch.no_grad():
            field.grids[0][(*moved, 0)] += sign * step
        ends.append(value())
        with torch.no_grad():
            field.grids[0][(*moved, 0)] -= sign * step
    assert float(found) == pytest.approx((ends[0] - ends[1]) / (2.0 * step), rel=0.05)


def test_seed_and_step_decide_camera_light_and_samples() -> None:
    field = voxels()
    first, again = look(field), look(field)
    assert first.azimuth_deg == again.azimuth_deg
    assert torch.equal(first.rendering.colour, again.rendering.colour)
    assert not torch.equal(first.rendering.colour, look(field, seed=1).rendering.colour)
    seen = {look(field, step=step).azimuth_deg for step in range(20)}
    assert seen == {camera.azimuth_deg for camera in CAMERAS}
