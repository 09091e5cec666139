"""Backgrounds: ranges, statistics and spectra that are measured, and a blur that is a blur."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.render.backgrounds import checkerboard, draw_backgrounds, fourier_texture, gaussian_blur, uniform_noise
from dreamfields.render.settings import BackgroundSettings
from dreamfields.scene.colour import correlation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw_background(settings: BackgroundSettings, size: int, generator: torch.Generator) -> Tensor:
    return draw_backgrounds(settings, 1, size, generator)[0]


def blur(image: Tensor, deviation: float) -> Tensor:
    """Blur one image (c, n, n)."""
    return gaussian_blur(image[None], torch.tensor([deviation]))[0]


def colours_of(image: Tensor) -> Tensor:
    """Return the different colours (n, 3) of an image (3, h, w)."""
    colours: Tensor = image.flatten(1).T.unique(dim=0)
    return colours


def changes(line: Tensor) -> int:
    """Count where a line (3, n) of pixels changes colour."""
    return int((line[:, 1:] != line[:, :-1]).any(dim=0).sum())


def decorrelated(texture: Tensor) -> Tensor:
    """Undo the sigmoid and the mixing of colours: (3, h, w)."""
    return torch.einsum("cd,dhw->chw", torch.linalg.inv(correlation()), torch.logit(texture) / 4.0)


def test_noise_is_uniform_and_its_pixels_and_channels_are_independent() -> None:
    noise = uniform_noise(100, seeded())
    assert noise.shape == (3, 100, 100)
    assert 0.0 <= noise.min() < 0.001
    assert 0.999 < noise.max() <= 1.0
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)
    assert noise.var().item() == pytest.approx(1.0 / 12.0, rel=0.03)
    neighbours = torch.stack([noise[0, :, :-1].flatten(), noise[0, :, 1:].flatten()])
    for pairs in (noise.flatten(1), neighbours):
        assert (torch.corrcoef(pairs) - torch.eye(len(pairs))).abs().max() < 0.04


@given(size=st.integers(1, 40), squares=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_checkerboard_has_two_colours_and_as_many_squares_as_asked(size: int, squares: int, seed: int) -> None:
    board = checkerboard(size, squares, seeded(seed))
    seen = min(size, squares)
    assert board.shape == (3, size, size)
    assert len(colours_of(board)) == (2 if seen > 1 else 1)
    assert 0.0 <= board.min() <= board.max() <= 1.0
    if size >= squares:
        assert changes(board[:, 0]) == changes(board[:, :, 0]) == squares - 1


def test_a_checkerboard_by_hand() -> None:
    board = checkerboard(6, 3, seeded())
    first, second = board[:, 0, 0], board[:, 0, 2]
    assert (first != second).all()
    for row in range(6):
        for column in range(6):
            expected = first if (row // 2 + column // 2) % 2 == 0 else second
            assert torch.equal(board[:, row, column], expected)


def test_the_colours_of_checkerboards_are_uniform() -> None:
    pairs = torch.stack([checkerboard(2, 2, seeded(seed))[:, 0] for seed in range(500)])
    assert pairs.mean().item() == pytest.approx(0.5, abs=0.02)
    assert pairs.var().item() == pytest.approx(1.0 / 12.0, rel=0.06)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_the_amplitudes_of_a_fourier_texture_fall_with_frequency_as_stated(decay: float) -> None:
    size, draws = 32, 60
    textures = torch.stack([decorrelated(fourier_texture(size, decay, seeded(seed))) for seed in range(draws)])
    power = torch.fft.fft2(textures).abs().square().mean(dim=(0, 1))
    axis = torch.fft.fftfreq(size) * size
    frequency = torch.hypot(axis[:, None], axis[None, :])
    counted = (frequency >= 1.0) & (frequency < size / 2)
    logs = torch.stack([frequency[counted].log(), torch.ones(int(counted.sum()))], dim=-1)
    slope = torch.linalg.lstsq(logs, power[counted].log()[:, None]).solution[0].item()
    assert slope == pytest.approx(-2.0 * decay, abs=0.08)


@pytest.mark.parametrize("size", [7, 16])
@pytest.mark.parametrize("contrast", [0.1, 0.4])
def test_a_fourier_texture_has_its_contrast_in_every_channel_and_stays_in_range(size: int, contrast: float) -> None:
    texture = fourier_texture(size, 1.5, seeded(1), contrast)
    assert texture.shape == (3, size, size)
    assert 0.0 < texture.min() < texture.max() < 1.0
    assert decorrelated(texture).std(dim=(1, 2), correction=0).tolist() == pytest.approx([contrast] * 3, rel=1e-3)


def test_a_fourier_texture_of_one_pixel_is_finite() -> None:
    assert torch.isfinite(fourier_texture(1, 1.5, seeded())).all()


def test_a_point_is_blurred_to_a_gaussian_of_the_deviation_in_pixels() -> None:
    point = torch.zeros(1, 31, 31)
    point[0, 15, 15] = 1.0
    deviation = 2.0
    blurred = blur(point, deviation)[0]
    assert blurred.sum().item() == pytest.approx(1.0, abs=1e-5)
    for down, right in [(0, 1), (1, 0), (3, 0), (0, 5), (4, 2)]:
        expected = math.exp(-0.5 * (down**2 + right**2) / deviation**2)
        ratio = (blurred[15 + down, 15 + right] / blurred[15, 15]).item()
        assert ratio == pytest.approx(expected, rel=1e-4)
        assert torch.allclose(blurred[15 + down, 15 + right], blurred[15 - down, 15 - right])
    assert blurred[15, 15 + 6] > 0.0
    assert blurred[15, 15 + 7] == 0.0  # Beyond 3 deviations.


@given(deviation=st.floats(0.0, 20.0), level=st.floats(0.0, 1.0))
def test_blur_keeps_a_constant(deviation: float, level: float) -> None:
    constant = torch.full((2, 3, 9, 9), level)
    blurred = gaussian_blur(constant, torch.tensor([deviation, 0.5 * deviation]))
    assert blurred.shape == constant.shape
    assert torch.allclose(blurred, constant, atol=1e-5)


def test_blur_keeps_the_mean_lowers_the_variance_and_ever_more_so() -> None:
    noise = torch.full((3, 60, 60), 0.5)
    noise[:, 20:40, 20:40] = uniform_noise(20, seeded())
    blurred = [blur(noise, deviation) for deviation in (0.0, 0.3, 0.6, 1.2, 2.4, 4.8)]
    assert torch.allclose(blurred[0], noise, atol=1e-6)
    variances = [float(image.var()) for image in blurred]
    assert all(after < before for before, after in itertools.pairwise(variances))
    assert [float(image.mean()) for image in blurred] == pytest.approx([float(noise.mean())] * len(blurred), rel=1e-5)


def test_images_are_blurred_each_by_its_own_deviation_and_channels_alone() -> None:
    images, deviations = torch.rand(3, 3, 10, 10), torch.tensor([0.0, 1.0, 2.5])
    blurred = gaussian_blur(images, deviations)
    for image, deviation, expected in zip(images, deviations.tolist(), blurred, strict=True):
        for channel, wanted in zip(image, expected, strict=True):
            assert torch.allclose(blur(channel[None], deviation)[0], wanted, atol=1e-6)


def kind_of(background: Tensor) -> str:
    if len(colours_of(background)) <= 2:
        return ("plain", "checkerboard")[len(colours_of(background)) - 1]
    roughness = float((background[..., 1:] - background[..., :-1]).abs().mean() / background.std())
    return "noise" if roughness > 0.9 else "fourier"


@pytest.mark.parametrize("kind", ["noise", "checkerboard", "fourier", "plain"])
def test_a_kind_alone_with_a_weight_is_always_drawn(kind: str) -> None:
    weights = {"noise": 0.0, "checkerboard": 0.0, "fourier": 0.0, "plain": 0.0, kind: 0.3}
    settings = BackgroundSettings(**weights, checkerboard_squares=4, fourier_decay=1.5, blur=(0.0, 0.0))  # type: ignore[arg-type]
    assert {kind_of(draw_background(settings, 24, seeded(seed))) for seed in range(30)} == {kind}


def test_each_kind_is_drawn_by_its_weight() -> None:
    settings = BackgroundSettings(1.0, 2.0, 4.0, 1.0, checkerboard_squares=4, fourier_decay=1.5, blur=(0.0, 0.0))
    draws, source = 400, seeded()
    kinds = [kind_of(draw_background(settings, 24, source)) for _ in range(draws)]
    for kind, fraction in [("noise", 0.125), ("checkerboard", 0.25), ("fourier", 0.5), ("plain", 0.125)]:
        tolerance = 4.0 * math.sqrt(fraction * (1.0 - fraction) / draws)
        assert kinds.count(kind) / draws == pytest.approx(fraction, abs=tolerance)


def test_the_settings_of_a_kind_reach_it() -> None:
    board = draw_background(
        BackgroundSettings(0.0, 1.0, 0.0, 0.0, checkerboard_squares=3, blur=(0.0, 0.0)), 12, seeded()
    )
    assert changes(board[:, 0]) == 2
    settings = [BackgroundSettings(0.0, 0.0, 1.0, 0.0, fourier_decay=decay, blur=(0.0, 0.0)) for decay in (0.5, 3.0)]
    rough, smooth = (draw_background(one, 24, seeded()).diff(dim=-1).square().mean() for one in settings)
    assert rough > 4.0 * smooth


@pytest.mark.parametrize("size", [10, 20])
def test_the_blur_is_a_share_of_the_side(size: int) -> None:
    sharp = BackgroundSettings(1.0, 0.0, 0.0, 0.0, blur=(0.0, 0.0))
    blurred = BackgroundSettings(1.0, 0.0, 0.0, 0.0, blur=(0.1, 0.1))
    expected = blur(draw_background(sharp, size, seeded(3)), 0.1 * size)
    assert torch.allclose(draw_background(blurred, size, seeded(3)), expected, atol=1e-6)


def test_the_blur_is_drawn_anew_between_its_bounds() -> None:
    low, high, drawn = (
        BackgroundSettings(1.0, 0.0, 0.0, 0.0, blur=blur) for blur in [(0.01,) * 2, (0.1,) * 2, (0.01, 0.1)]
    )
    spreads = []
    for seed in range(20):
        least, most, between = (float(draw_background(one, 20, seeded(seed)).std()) for one in (high, low, drawn))
        assert least <= between <= most
        spreads.append((between - least) / (most - least))
    assert min(spreads) < 0.1
    assert max(spreads) > 0.5


@pytest.mark.parametrize(
    "weights",
    [(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)],
)
def test_the_same_generator_draws_the_same_and_goes_on_to_others(
    weights: tuple[float, float, float, float],
) -> None:
    settings = BackgroundSettings(*weights, blur=(0.0, 0.04))
    one, other = seeded(5), seeded(5)
    first, again, next_one = (draw_background(settings, 16, source) for source in (one, other, one))
    assert first.shape == (3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, next_one)
    assert 0.0 <= first.min() <= first.max() <= 1.0
