"""Volume rendering: closed forms, conservation, order, and extreme densities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from dreamfields.render import volume
from tests.support import reference

DENSITIES = st.one_of(st.floats(0.0, 20.0), st.floats(0.0, 1e30), st.just(0.0), st.just(1e30))
LENGTHS = st.one_of(st.floats(0.0, 0.5), st.just(0.0))
SEGMENTS = st.lists(st.tuples(DENSITIES, LENGTHS), min_size=1, max_size=40)


def tensors(segments: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    density, lengths = torch.tensor(segments, dtype=torch.float32).T[:, None]
    return density, lengths


@pytest.mark.parametrize("samples", [1, 3, 64])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0, 10.0])
def test_a_slab_of_constant_density_has_its_closed_form(samples: int, density: float) -> None:
    thickness = 1.5
    lengths = torch.full((1, samples), thickness / samples)
    weights = volume.weights_from_density(torch.full((1, samples), density), lengths)
    assert volume.opacity_from_weights(weights).item() == pytest.approx(1 - math.exp(-density * thickness), abs=1e-5)
    light = volume.transmittance_from_density(torch.full((1, samples), density), lengths)
    expected = [math.exp(-density * thickness * index / samples) for index in range(samples)]
    assert light[0].tolist() == pytest.approx(expected, rel=1e-4)


@given(SEGMENTS)
def test_weights_and_the_light_that_is_left_sum_to_1(segments: list[tuple[float, float]]) -> None:
    density, lengths = tensors(segments)
    weights = volume.weights_from_density(density, lengths)
    left = math.exp(-sum(float(d) * float(length) for d, length in zip(density[0], lengths[0], strict=True)))
    assert weights.min() >= 0.0
    assert weights.sum().item() + left == pytest.approx(1.0, abs=1e-5)


@given(SEGMENTS)
def test_agrees_with_the_reference(segments: list[tuple[float, float]]) -> None:
    density, lengths = tensors(segments)
    colours = torch.rand(1, len(segments), 3)
    distances = torch.rand(1, len(segments)) + 3.0
    expected = reference.render_ray(
        density[0].tolist(), lengths[0].tolist(), colours[0].tolist(), distances[0].tolist()
    )
    weights = volume.weights_from_density(density, lengths)
    assert weights[0].tolist() == pytest.approx(expected.weights, abs=1e-5)
    assert volume.colour_from_weights(weights, colours)[0].tolist() == pytest.approx(expected.colour, abs=1e-5)
    assert volume.opacity_from_weights(weights).item() == pytest.approx(expected.opacity, abs=1e-5)
    assert volume.depth_from_weights(weights, distances).item() == pytest.approx(expected.depth, abs=1e-4)


@given(SEGMENTS, st.integers(0, 39), st.floats(0.0, 1.0))
def test_cutting_a_segment_in_two_changes_nothing(
    segments: list[tuple[float, float]], chosen: int, fraction: float
) -> None:
    index = chosen % len(segments)
    density, length = segments[index]
    cut = [
        *segments[:index],
        (density, fraction * length),
        (density, (1.0 - fraction) * length),
        *segments[index + 1 :],
    ]
    whole = volume.weights_from_density(*tensors(segments))[0]
    parts = volume.weights_from_density(*tensors(cut))[0]
    joined = torch.cat([parts[:index], parts[index : index + 2].sum()[None], parts[index + 2 :]])
    assert torch.allclose(joined, whole, atol=1e-5)


@given(SEGMENTS)
def test_light_starts_whole_and_never_grows(segments: list[tuple[float, float]]) -> None:
    light = volume.transmittance_from_density(*tensors(segments))[0]
    assert light[0] == 1.0
    assert (light[1:] <= light[:-1]).all()


@pytest.mark.parametrize("density", [0.0, 1e-30, 1e-3, 1.0, 88.0, 1e4, 1e30])
@pytest.mark.parametrize("place", ["all", "first", "last"])
def test_values_and_gradients_are_finite_at_any_density(density: float, place: str) -> None:
    sigma = torch.full((2, 32), 1.0)
    sigma[:, {"all": slice(None), "first": slice(0, 1), "last": slice(31, 32)}[place]] = density
    sigma.requires_grad_()
    lengths = torch.full((2, 32), 0.05)
    lengths[1] = 0.0
    weights = volume.weights_from_density(sigma, lengths)
    (gradient,) = torch.autograd.grad((weights * torch.randn(2, 32)).sum(), sigma)
    assert torch.isfinite(weights).all()
    assert torch.isfinite(gradient).all()


def test_thin_segments_lose_no_precision() -> None:
    alpha = volume.alpha_from_density(torch.tensor([1e-9, 1e-6]), torch.tensor([1.0, 0.5]))
    assert alpha.tolist() == pytest.approx([1e-9, 5e-7], rel=1e-5)


def test_alpha_is_the_share_that_one_segment_stops() -> None:
    alpha = volume.alpha_from_density(torch.tensor([0.0, 2.0, 1e30]), torch.tensor([1.0, 0.5, 1.0]))
    assert alpha.tolist() == pytest.approx([0.0, 1.0 - math.exp(-1.0), 1.0])


def test_an_opaque_segment_hides_all_behind_it_and_nothing_before_it() -> None:
    density = torch.tensor([[0.5, 1e6, 3.0]])
    weights = volume.weights_from_density(density, torch.ones(1, 3))[0].tolist()
    assert weights == pytest.approx([1.0 - math.exp(-0.5), math.exp(-0.5), 0.0], abs=1e-6)


def test_a_large_density_behind_does_not_disturb_what_is_in_front() -> None:
    weights = volume.weights_from_density(torch.tensor([[1.0, 1e30]]), torch.ones(1, 2))[0].tolist()
    assert weights == pytest.approx([1.0 - math.exp(-1.0), math.exp(-1.0)], abs=1e-6)


def test_one_colour_is_seen_in_proportion_to_opacity() -> None:
    weights = volume.weights_from_density(torch.rand(4, 9), torch.full((4, 9), 0.2))
    colour = torch.tensor([0.9, 0.5, 0.1])
    seen = volume.colour_from_weights(weights, colour.expand(4, 9, 3))
    assert torch.allclose(seen, volume.opacity_from_weights(weights)[:, None] * colour, atol=1e-6)


def test_a_wall_is_seen_at_its_own_colour_and_distance() -> None:
    weights = volume.weights_from_density(torch.tensor([[0.0, 1e6, 1e6]]), torch.full((1, 3), 0.1))
    colours = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    assert volume.colour_from_weights(weights, colours)[0].tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert volume.depth_from_weights(weights, torch.tensor([[3.0, 3.5, 4.0]])).item() == pytest.approx(3.5)


def test_compositing_fills_what_the_object_leaves() -> None:
    colour, background = torch.full((1, 3, 1, 1), 0.2), torch.tensor([1.0, 0.5, 0.0]).reshape(1, 3, 1, 1)
    for opacity, expected in [(0.0, [1.2, 0.7, 0.2]), (1.0, [0.2] * 3), (0.4, [0.8, 0.5, 0.2])]:
        picture = volume.composite(colour, torch.full((1, 1, 1, 1), opacity), background)
        assert picture[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_gradients_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    density = (3.0 * torch.rand((2, 5), generator=generator, dtype=torch.float64)).requires_grad_()
    colours = torch.rand((2, 5, 3), generator=generator, dtype=torch.float64).requires_grad_()
    lengths = torch.rand((2, 5), generator=generator, dtype=torch.float64)

    def pixels(density: Tensor, colours: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights = volume.weights_from_density(density, lengths)
        opacity = volume.opacity_from_weights(weights)
        return volume.colour_from_weights(weights, colours), opacity, volume.depth_from_weights(weights, lengths)

    assert gradcheck(pixels, (density, colours))


@pytest.mark.parametrize("termination", [0.0, 1e-3, 0.2])
def test_behind_the_end_of_a_ray_nothing_weighs(termination: float) -> None:
    density, lengths = 3.0 * torch.rand(20, 12), torch.full((20, 12), 0.3)
    light = volume.transmittance_from_density(density, lengths)
    weights = volume.weights_from_density(density, lengths, termination)
    whole = volume.weights_from_density(density, lengths)
    assert torch.equal(weights[light > termination], whole[light > termination])
    assert (weights[light <= termination] == 0.0).all()
    # What is lost is no more than the light at which the ray ends.
    assert ((whole - weights).sum(dim=-1) <= termination + 1e-6).all()
