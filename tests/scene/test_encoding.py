"""Fourier features: their frequencies, the footprint of a sample, and that the integrated ones are true means."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.scene import encoding
from dreamfields.scene.cameras import Camera
from tests.support import reference

FREQUENCIES = torch.tensor([[1.0, 0.0, 0.0], [0.0, -3.0, 0.0], [2.0, 5.0, -1.0], [0.0, 0.0, 0.0]])


def random_covariances(count: int, seed: int = 0, size: float = 0.3) -> Tensor:
    root = size * torch.randn((count, 3, 3), generator=torch.Generator().manual_seed(seed))
    return root @ root.mT


def unit_vectors(count: int, seed: int = 0) -> Tensor:
    directions = torch.randn((count, 3), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(directions, dim=-1)


@given(st.integers(0, 1000), st.floats(0.0, 3.0))
def test_the_integrated_encoding_agrees_with_the_reference(seed: int, scale: float) -> None:
    points, covariances = unit_vectors(5, seed), random_covariances(5, seed)
    encoded = encoding.integrated_encoding(points, covariances, FREQUENCIES, scale)
    for row, point, covariance in zip(encoded.tolist(), points.tolist(), covariances.tolist(), strict=True):
        expected = reference.fourier_features(point, covariance, FREQUENCIES.tolist(), scale)
        assert row == pytest.approx(expected, abs=1e-5)


def test_without_an_extent_the_integrated_encoding_is_the_plain_one() -> None:
    points = unit_vectors(20)
    plain = encoding.plain_encoding(points, FREQUENCIES)
    assert torch.equal(encoding.integrated_encoding(points, torch.zeros(20, 3, 3), FREQUENCIES, 7.0), plain)
    assert torch.equal(encoding.integrated_encoding(points, random_covariances(20), FREQUENCIES, 0.0), plain)


def test_the_integrated_encoding_is_the_mean_of_the_plain_one() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, covariance = torch.tensor([0.3, -0.2, 0.5]), random_covariances(1)[0]
    for scale in (1.0, 2.0):
        normal = torch.randn((200_000, 3), generator=generator)
        drawn = mean + scale * normal @ torch.linalg.cholesky(covariance).T
        expected = encoding.plain_encoding(drawn, FREQUENCIES).mean(dim=0)
        integrated = encoding.integrated_encoding(mean[None], covariance[None], FREQUENCIES, scale)[0]
        # Means of so many draws, each within [-1, 1], are known to about 0.002.
        assert torch.allclose(integrated, expected, atol=0.01)


def test_features_of_a_point_lie_on_unit_circles() -> None:
    cosines, sines = encoding.plain_encoding(unit_vectors(30), FREQUENCIES).chunk(2, dim=-1)
    assert torch.allclose(cosines.square() + sines.square(), torch.ones(30, 4), atol=1e-6)


def test_whole_frequencies_repeat_after_two_pi() -> None:
    points = unit_vectors(10).double()
    frequencies = encoding.draw_frequencies(128, 8.0, "sphere").double()
    for axis in torch.eye(3, dtype=torch.float64):
        moved = encoding.plain_encoding(points + 2.0 * math.pi * axis, frequencies)
        assert torch.allclose(moved, encoding.plain_encoding(points, frequencies), atol=1e-9)


def test_a_footprint_is_the_covariance_of_an_even_box() -> None:
    direction, length, radius = unit_vectors(1)[0], 0.7, 0.2
    across = torch.linalg.svd(direction[None]).Vh[1:]
    box = torch.rand((400_000, 3), generator=torch.Generator().manual_seed(0)) - 0.5
    axes = torch.stack([length * direction, radius * across[0], radius * across[1]])
    made = encoding.frustum_covariance(direction[None], torch.tensor([length]), torch.tensor([radius]))[0]
    assert torch.allclose(made, torch.cov((box @ axes).T), atol=2e-4)


def test_a_footprint_as_wide_as_long_has_no_direction() -> None:
    sizes = torch.tensor([0.1, 0.5, 2.0])
    made = encoding.frustum_covariance(unit_vectors(3), sizes, sizes)
    assert torch.allclose(made, sizes.square()[:, None, None] / 12.0 * torch.eye(3), atol=1e-7)


@pytest.mark.parametrize("pixel", [0, 3, 11, 35])
def test_footprints_of_a_camera_are_those_of_the_released_code(pixel: int) -> None:
    camera, size = Camera(25.0, -40.0, fov_deg=70.0), 6
    rays = camera.rays(size)
    direction = rays.directions[pixel]
    # The released code's directions end one unit ahead of the camera, its distances count in their lengths.
    stretch = 1.0 / float(direction @ camera.axes()[2])
    near, far = 3.1, 3.4
    pitch = 2.0 * math.tan(math.radians(35.0)) / size
    expected = reference.released_covariance((stretch * direction).tolist(), near, far, pitch / math.sqrt(12.0))
    lengths = torch.tensor([stretch * (far - near)])
    radii = rays.radii[pixel : pixel + 1] * stretch * 0.5 * (near + far)
    made = encoding.frustum_covariance(direction[None], lengths, radii)
    assert torch.allclose(made[0], torch.tensor(expected), rtol=1e-4, atol=1e-7)


def test_the_variance_of_a_phase_follows_the_direction_of_its_frequency() -> None:
    directions = unit_vectors(6)
    made = encoding.frustum_covariance(directions, torch.full((6,), 0.6), torch.full((6,), 0.2))
    across = torch.linalg.cross(directions, directions.roll(1, dims=-1))
    for index in range(6):
        frequencies = torch.stack([5.0 * directions[index], 5.0 * across[index] / across[index].norm()])
        variances = encoding.variance_along(frequencies, made[index : index + 1])[0].tolist()
        assert variances == pytest.approx([25.0 * 0.36 / 12.0, 25.0 * 0.04 / 12.0], rel=1e-3)


def test_no_variance_is_negative_where_long_terms_cancel() -> None:
    frequencies = 200.0 * unit_vectors(50)
    # Each direction is at right angles to its frequency, whose phase does not change along it.
    directions = torch.nn.functional.normalize(torch.linalg.cross(frequencies, unit_vectors(50, seed=1)), dim=-1)
    made = encoding.frustum_covariance(directions, torch.full((50,), 3.4), torch.zeros(50))
    variances = encoding.variance_along(frequencies, made)
    assert variances.min() == 0.0
    assert variances.diagonal().max() < 0.1
    assert encoding.attenuation(variances).max() <= 1.0


@given(st.floats(0.0, 1.0), st.floats(1.0, 4.0), st.integers(0, 1000))
def test_a_larger_footprint_leaves_less_of_every_feature(size: float, growth: float, seed: int) -> None:
    frequencies, directions = encoding.draw_frequencies(40, 6.0, "sphere"), unit_vectors(4, seed)

    def left(length: float, radius: float, scale: float = 1.0) -> Tensor:
        made = encoding.frustum_covariance(directions, torch.full((4,), length), torch.full((4,), radius))
        return encoding.attenuation(encoding.variance_along(frequencies, made), scale)

    plain, tolerance = left(size, 0.5 * size), 1e-5
    assert plain.min() >= 0.0
    assert plain.max() <= 1.0
    for larger in (
        left(growth * size, 0.5 * size),
        left(size, growth * 0.5 * size),
        left(size, 0.5 * size, growth),
    ):
        assert (larger <= plain + tolerance).all()
    # Scaling the whole footprint is what the scale is short for.
    assert torch.allclose(left(growth * size, growth * 0.5 * size), left(size, 0.5 * size, growth), atol=1e-4)


def test_frequencies_are_the_axes_and_whole_numbers_up_to_the_highest_octave() -> None:
    frequencies = encoding.draw_frequencies(128, 8.0, "sphere")
    assert frequencies.shape == (131, 3)
    assert torch.equal(frequencies[:3], torch.eye(3))
    assert torch.equal(frequencies, frequencies.round())
    lengths = frequencies[3:].norm(dim=-1)
    assert lengths.max() <= 256.0
    assert lengths.max() > 64.0
    # 2^(8 u) is below 16 half of the time; 128 coins are within five deviations of that.
    assert 36 < int((lengths < 16.0).sum()) < 92


def test_frequencies_of_the_released_code_are_shorter_by_what_it_divides_by() -> None:
    count = 4096
    sphere = encoding.draw_frequencies(count, 16.0, "sphere")[3:].norm(dim=-1)
    released = encoding.draw_frequencies(count, 16.0, "released")[3:].norm(dim=-1)
    long = sphere > 1000.0  # Where cutting to whole numbers changes little.
    ratio = (released[long].square() / sphere[long].square()).mean().sqrt()
    assert float(ratio) == pytest.approx(math.sqrt(3.0 / count), rel=0.05)


def test_frequencies_are_the_same_for_every_run_and_leave_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    one = encoding.draw_frequencies(128, 8.0, "sphere")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(one, encoding.draw_frequencies(128, 8.0, "sphere"))


def test_no_random_frequency_leaves_the_axes() -> None:
    assert torch.equal(encoding.draw_frequencies(0, 8.0, "sphere"), torch.eye(3))
    assert torch.equal(encoding.draw_frequencies(0, 8.0, "released"), torch.eye(3))


def test_the_anneal_halves_the_scale_from_two_to_one_and_stays() -> None:
    scales = [encoding.footprint_scale(step, 1000) for step in (0, 500, 1000, 1001, 10**7)]
    assert scales == pytest.approx([2.0, math.sqrt(2.0), 1.0, 1.0, 1.0])
    assert scales[2:] == [1.0, 1.0, 1.0]
    assert [encoding.footprint_scale(step, 0) for step in (0, 7)] == [1.0, 1.0]
