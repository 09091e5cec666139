"""Textureless views: of the geometry alone, with gradients for density alone, drawn from seed and step alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dreamfields.guidance.base import Guide
from dreamfields.guidance.settings import PromptSettings
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.optimize.loop import take_step
from dreamfields.optimize.objective import make_targets
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.textureless import (
    TexturelessView,
    is_textureless_step,
    render_textureless,
    render_textureless_view,
)
from dreamfields.render.renderer import render
from dreamfields.render.shading import ShadedField, averaged, textureless_fields
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.mlp import MlpField
from dreamfields.scene.fields.voxels import VoxelField, VoxelNodes, colour_from_values, values_from_grey
from tests.support.toys import TINY, TINY_MLP, new_state, targets_of, with_steps

LIGHT = (0.3, 0.8, 0.5)
CAMERAS = [Camera(0.0, 10.0), Camera(120.0, 10.0), Camera(240.0, 10.0)]


def voxels(colours: float = 0.0) -> VoxelField:
    """A field with an uneven shape, and other colours for other numbers."""
    field, generator = new_state(TINY).field, torch.Generator().manual_seed(0)
    assert isinstance(field, VoxelField)
    with torch.no_grad():
        for grid in field.grids:
            grid[..., 0] += 0.2 * torch.randn(grid.shape[:3], generator=generator)
            grid[..., 1:] += colours
    return field


def view_of(field: VoxelField | MlpField, seed: int = 0, step: int = 0) -> TexturelessView:
    return render_textureless_view(field, CAMERAS, None, StepContext(TINY, seed, step))


def backward(textureless: TexturelessView) -> None:
    """Take the gradient of some loss of the view."""
    wanted = torch.rand(textureless.rendering.colour.shape, generator=torch.Generator().manual_seed(1))
    (wanted * textureless.rendering.colour).sum().backward()


def test_the_view_is_grey_whatever_the_colours() -> None:
    plain, painted = (view_of(voxels(colours)).rendering for colours in (0.0, 0.3))
    assert plain.colour.shape == (1, 3, TINY.render.size, TINY.render.size)
    assert torch.equal(plain.colour, painted.colour)
    assert torch.allclose(plain.colour[:, 0], plain.colour[:, 2], atol=1e-5)
    assert float(plain.colour.detach().std()) > 0.02


def test_voxels_get_a_gradient_for_density_and_none_for_colour() -> None:
    field = voxels()
    backward(view_of(field))
    for grid in field.grids:
        assert grid.grad is not None
        assert float(grid.grad[..., 0].abs().max()) > 0.0
        assert float(grid.grad[..., 1:].abs().max()) == 0.0


def test_a_network_s_colours_get_no_gradient_either() -> None:
    field = new_state(TINY_MLP).field
    assert isinstance(field, MlpField)
    backward(view_of(field))
    assert field.head.weight.grad is not None
    assert float(field.head.weight.grad[3].abs().max()) > 0.0
    assert float(field.head.weight.grad[:3].abs().max()) == 0.0


def by_normals(field: VoxelField, learns: bool = True) -> AbstractField:
    return ShadedField(field, LIGHT, 8, learns=learns)


def on_nodes(field: VoxelField) -> AbstractField:
    return textureless_fields(field, [LIGHT])[0]


def gradient(field: VoxelField, shaded: AbstractField) -> Tensor:
    field.zero_grad()
    (render(shaded, CAMERAS[:1], 12, 12).colour[..., :6]).sum().backward()
    found: Tensor | None = field.grids[0].grad
    assert found is not None
    of_density: Tensor = found[..., 0].clone()
    return of_density


def test_shades_have_a_gradient_only_with_learns() -> None:
    field = voxels()
    taught = gradient(field, by_normals(field))
    assert not torch.allclose(taught, gradient(field, by_normals(field, False)), rtol=0.1)
    assert ShadedField(field, LIGHT, 8, learns=True).outward.requires_grad
    assert not ShadedField(field, LIGHT, 8).outward.requires_grad


@pytest.mark.parametrize("shape", [by_normals, on_nodes])
def test_the_gradient_of_the_shades_is_that_of_finite_differences(shape: Callable[[VoxelField], AbstractField]) -> None:
    field = voxels()
    moved = (1, 1, 1)
    found = gradient(field, shape(field))[moved]

    def value() -> float:
        with torch.no_grad():
            return float(render(shape(field), CAMERAS[:1], 12, 12).colour[..., :6].double().sum())

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
    first, again = view_of(field), view_of(field)
    assert first.azimuth_deg == again.azimuth_deg
    assert torch.equal(first.rendering.colour, again.rendering.colour)
    assert not torch.equal(first.rendering.colour, view_of(field, seed=1).rendering.colour)
    azimuths = {view_of(field, step=step).azimuth_deg for step in range(20)}
    assert azimuths == {camera.azimuth_deg for camera in CAMERAS}


def test_the_mean_of_neighbours_is_that_of_those_that_there_are() -> None:
    values = torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(0))
    pooled = torch.nn.functional.avg_pool3d(values[None], 3, stride=1, padding=1, count_include_pad=False)[0]
    assert torch.allclose(averaged(values), pooled, atol=1e-6)


def test_values_of_grey_become_that_grey() -> None:
    shades = torch.linspace(0.05, 0.98, 7)
    found = colour_from_values(values_from_grey(shades, TINY.voxels), TINY.voxels)
    assert torch.allclose(found, shades[:, None].expand(7, 3), atol=1e-6)


def test_nodes_are_rendered_as_the_field_that_they_are_of() -> None:
    field = voxels(0.3)
    nodes = VoxelNodes(field.sum_levels().permute(1, 2, 3, 0), field.settings)
    for engine in ("auto", "reference"):
        of_field, of_nodes = (render(one, CAMERAS, 12, 12, engine=engine) for one in (field, nodes))
        assert torch.allclose(of_field.colour, of_nodes.colour, atol=1e-6)
    assert torch.allclose(field.density_volume(5), nodes.density_volume(5), atol=1e-6)


@torch.no_grad()
def test_shades_on_nodes_are_rendered_alike_fast_and_slow_and_close_to_those_by_normals() -> None:
    field = voxels()
    fast, slow = (render(on_nodes(field), CAMERAS, 24, 24, engine=engine) for engine in ("auto", "reference"))
    assert torch.allclose(fast.colour, slow.colour, atol=1e-5)
    by_definition = render(ShadedField(field, LIGHT, field.grid_cells, learns=True), CAMERAS, 24, 24)
    assert torch.allclose(fast.opacity, by_definition.opacity, atol=1e-5)
    apart = (fast.colour - by_definition.colour).abs()
    assert float(apart.mean()) < 0.01 < float(fast.colour.std())
    assert float(apart.max()) < 0.15


@torch.no_grad()
def test_each_camera_has_a_light_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    views = render_textureless(voxels(), [CAMERAS[0]] * 3, TINY.render, None, generator)
    assert views.opacity.shape == (3, 1, TINY.render.size, TINY.render.size)
    assert float((views.colour[0] - views.colour[1]).abs().max()) > 0.02


def test_a_fraction_of_the_steps_from_some_step_on_is_textureless() -> None:
    def drawn(fraction: float, begin: float, seed: int = 0) -> list[bool]:
        settings = replace(TINY.render, textureless=fraction, textureless_from=begin)
        recipe = replace(with_steps(2000), render=settings)
        return [is_textureless_step(StepContext(recipe, seed, step)) for step in range(2000)]

    whole = drawn(0.25, 0.0)
    assert sum(whole) == pytest.approx(500, abs=80)
    assert drawn(0.25, 0.1) == [False] * 200 + whole[200:]
    assert drawn(0.25, 0.0, seed=1) != whole
    assert not any(drawn(0.0, 0.0))


ALWAYS = replace(TINY, render=replace(TINY.render, textureless=1.0, textureless_from=0.0))


def colours_learn(prompts: PromptSettings | None = None, scores_textureless: bool = True) -> bool:
    """Tell whether colours get a gradient from a step of a run that is textureless whenever it may be."""
    state = new_state(ALWAYS)
    targets = make_targets([Guide(ToyGuidance())], "{}", "a red ball", prompts)
    take_step(state, targets if scores_textureless else [replace(target, textureless=None) for target in targets])
    assert isinstance(state.field, VoxelField)
    assert all(grid.grad is not None for grid in state.field.grids)
    return any(bool(grid.grad[..., 1:].any()) for grid in state.field.grids if grid.grad is not None)


def test_steps_are_textureless_only_if_all_guides_can_score_that_and_there_is_no_geometry_prompt() -> None:
    assert not colours_learn()
    assert colours_learn(scores_textureless=False)
    assert colours_learn(PromptSettings(geometry_prompt="a ball"))


def test_a_textureless_step_has_no_gradient_for_colours_and_leaves_the_mean_score() -> None:
    state = new_state(ALWAYS)
    state.running_means = replace(state.running_means, score=0.25, steps=3)
    step = take_step(state, targets_of())
    assert isinstance(state.field, VoxelField)
    for grid in state.field.grids:
        assert grid.grad is not None
        assert float(grid.grad[..., 0].abs().max()) > 0.0
        assert float(grid.grad[..., 1:].abs().max()) == 0.0
    assert step.score == 0.25 == state.running_means.score
