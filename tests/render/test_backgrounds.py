"""Backgrounds: ranges, statistics and spectra that are measured, and a blur that is a blur."""

import itertools
import math
import pkgutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.render import backgrounds
from dreamfields.render.backgrounds import checkerboard, draw_backgrounds, fourier, noise
from dreamfields.render.blur import gaussian_blur
from dreamfields.render.settings import BackgroundSettings
from dreamfields.scene.colour import correlation
from tests.support.fields import seeded

KINDS = tuple(BackgroundSettings().weights())


def only(kind: str, **others: Any) -> BackgroundSettings:
    """Return settings that draw one kind alone, unblurred unless told otherwise."""
    return BackgroundSettings(**({name: float(name == kind) for name in KINDS} | {"blur": (0.0, 0.0)} | others))


def uniform_noise(size: int, generator: torch.Generator) -> Tensor:
    return noise.draw(BackgroundSettings(), size, generator)


def board_of(size: int, squares: int, generator: torch.Generator) -> Tensor:
    return checkerboard.draw(BackgroundSettings(checkerboard_squares=squares), size, generator)


def texture_of(size: int, decay: float, generator: torch.Generator) -> Tensor:
    return fourier.draw(BackgroundSettings(fourier_decay=decay), size, generator)


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
    pixels = uniform_noise(100, seeded())
    assert pixels.shape == (3, 100, 100)
    assert 0.0 <= pixels.min() < 0.001
    assert 0.999 < pixels.max() <= 1.0
    assert pixels.mean().item() == pytest.approx(0.5, abs=0.01)
    assert pixels.var().item() == pytest.approx(1.0 / 12.0, rel=0.03)
    neighbours = torch.stack([pixels[0, :, :-1].flatten(), pixels[0, :, 1:].flatten()])
    for pairs in (pixels.flatten(1), neighbours):
        assert (torch.corrcoef(pairs) - torch.eye(len(pairs))).abs().max() < 0.04


@given(size=st.integers(1, 40), squares=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_checkerboard_has_two_colours_and_as_many_squares_as_the_settings_say(
    size: int, squares: int, seed: int
) -> None:
    board = board_of(size, squares, seeded(seed))
    assert board.shape == (3, size, size)
    assert 0.0 <= board.min() <= board.max() <= 1.0
    if size >= squares:
        assert len(colours_of(board)) == min(squares, 2)
        assert changes(board[:, 0]) == changes(board[:, :, 0]) == squares - 1
    else:  # Where squares are smaller than pixels, those that are left may all have the same colour.
        assert len(colours_of(board)) <= 2


def test_a_checkerboard_by_hand() -> None:
    board = board_of(6, 3, seeded())
    first, second = board[:, 0, 0], board[:, 0, 2]
    assert (first != second).all()
    for row in range(6):
        for column in range(6):
            expected = first if (row // 2 + column // 2) % 2 == 0 else second
            assert torch.equal(board[:, row, column], expected)


def test_the_colours_of_checkerboards_are_uniform() -> None:
    pairs = torch.stack([board_of(2, 2, seeded(seed))[:, 0] for seed in range(500)])
    assert pairs.mean().item() == pytest.approx(0.5, abs=0.02)
    assert pairs.var().item() == pytest.approx(1.0 / 12.0, rel=0.06)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_the_amplitudes_of_a_fourier_texture_fall_with_frequency_as_stated(decay: float) -> None:
    size, draws = 32, 60
    textures = torch.stack([decorrelated(texture_of(size, decay, seeded(seed))) for seed in range(draws)])
    power = torch.fft.fft2(textures).abs().square().mean(dim=(0, 1))
    axis = torch.fft.fftfreq(size) * size
    frequency = torch.hypot(axis[:, None], axis[None, :])
    counted = (frequency >= 1.0) & (frequency < size / 2)
    logs = torch.stack([frequency[counted].log(), torch.ones(int(counted.sum()))], dim=-1)
    slope = torch.linalg.lstsq(logs, power[counted].log()[:, None]).solution[0].item()
    assert slope == pytest.approx(-2.0 * decay, abs=0.08)


@pytest.mark.parametrize("size", [7, 16])
@pytest.mark.parametrize("contrast", [0.1, 0.4])
def test_a_fourier_texture_has_its_contrast_in_every_channel_and_stays_in_range(
    size: int, contrast: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fourier, "CONTRAST", contrast)
    texture = texture_of(size, 1.5, seeded(1))
    assert texture.shape == (3, size, size)
    assert 0.0 < texture.min() < texture.max() < 1.0
    assert decorrelated(texture).std(dim=(1, 2), correction=0).tolist() == pytest.approx([contrast] * 3, rel=1e-3)


def test_a_fourier_texture_of_one_pixel_is_finite() -> None:
    assert torch.isfinite(texture_of(1, 1.5, seeded())).all()


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
    image = torch.full((3, 60, 60), 0.5)
    image[:, 20:40, 20:40] = uniform_noise(20, seeded())
    blurred = [blur(image, deviation) for deviation in (0.0, 0.3, 0.6, 1.2, 2.4, 4.8)]
    assert torch.allclose(blurred[0], image, atol=1e-6)
    variances = [float(one.var()) for one in blurred]
    assert all(after < before for before, after in itertools.pairwise(variances))
    assert [float(one.mean()) for one in blurred] == pytest.approx([float(image.mean())] * len(blurred), rel=1e-5)


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
    settings = only(kind, **{kind: 0.3, "checkerboard_squares": 4})
    assert {kind_of(draw_background(settings, 24, seeded(seed))) for seed in range(30)} == {kind}


def test_the_table_of_weights_holds_every_kind_and_each_has_a_module() -> None:
    # The order decides what a seed draws, so new kinds come last.
    assert list(KINDS)[:5] == ["noise", "checkerboard", "fourier", "plain", "black"]
    assert set(KINDS) == {module.name for module in pkgutil.iter_modules(backgrounds.__path__)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_images_in_range_from_the_generator_alone(kind: str) -> None:
    for size in (1, 2, 17):
        torch.manual_seed(0)
        first = draw_backgrounds(only(kind), 5, size, seeded(1))
        torch.manual_seed(1)
        state = torch.get_rng_state()
        again = draw_backgrounds(only(kind), 5, size, seeded(1))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first, again)
        assert first.shape == (5, 3, size, size)
        assert first.dtype == torch.float32
        assert 0.0 <= first.min() <= first.max() <= 1.0
        assert kind == "black" or len({tuple(one.flatten().tolist()) for one in first}) > 1
        assert kind != "black" or not first.any()


def test_each_kind_is_drawn_by_its_weight() -> None:
    settings = BackgroundSettings(1.0, 2.0, 4.0, 1.0, checkerboard_squares=4, fourier_decay=1.5, blur=(0.0, 0.0))
    draws, source = 400, seeded()
    kinds = [kind_of(draw_background(settings, 24, source)) for _ in range(draws)]
    for kind, fraction in [("noise", 0.125), ("checkerboard", 0.25), ("fourier", 0.5), ("plain", 0.125)]:
        tolerance = 4.0 * math.sqrt(fraction * (1.0 - fraction) / draws)
        assert kinds.count(kind) / draws == pytest.approx(fraction, abs=tolerance)


def test_the_settings_of_a_kind_reach_it() -> None:
    board = draw_background(only("checkerboard", checkerboard_squares=3), 12, seeded())
    assert changes(board[:, 0]) == 2
    settings = [only("fourier", fourier_decay=decay) for decay in (0.5, 3.0)]
    rough, smooth = (draw_background(one, 24, seeded()).diff(dim=-1).square().mean() for one in settings)
    assert rough > 4.0 * smooth


@pytest.mark.parametrize("size", [10, 20])
def test_the_blur_is_a_fraction_of_the_side(size: int) -> None:
    sharp, blurred = only("noise"), only("noise", blur=(0.1, 0.1))
    expected = blur(draw_background(sharp, size, seeded(3)), 0.1 * size)
    assert torch.allclose(draw_background(blurred, size, seeded(3)), expected, atol=1e-6)


def test_the_blur_is_drawn_anew_between_its_bounds() -> None:
    low, high, drawn = (only("noise", blur=blur) for blur in [(0.01,) * 2, (0.1,) * 2, (0.01, 0.1)])
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


def test_images_of_each_kind_have_its_statistics() -> None:
    pixels = draw_backgrounds(only("noise"), 20, 16, seeded())
    assert pixels.mean().item() == pytest.approx(0.5, abs=0.02)
    assert pixels.var().item() == pytest.approx(1 / 12, abs=0.005)
    board = draw_background(only("checkerboard"), 16, seeded())
    assert torch.equal(board[:, :2, :2], board[:, 2:4, 2:4])
    assert len(colours_of(board)) == 2
    assert draw_background(only("plain"), 16, seeded()).flatten(1).std(dim=1).max() == 0.0
    texture = draw_backgrounds(only("fourier"), 40, 16, seeded())
    neighbours = (texture[..., 1:] - texture[..., :-1]).abs().mean()
    assert 0.0 < float(neighbours) < 0.7 * float(texture.std())  # noise has 1.15


def test_black_and_plain_are_drawn_in_their_proportions() -> None:
    images = draw_backgrounds(replace(only("black"), plain=2.0), 900, 16, seeded())
    black = sum(not bool(one.any()) for one in images)
    assert 240 < black < 360  # 300 with a deviation of 14


def test_a_kernel_that_is_cut_off_stays_a_mean() -> None:
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert torch.allclose(gaussian_blur(flat, torch.tensor([5.0]), 2), flat)
    spike = torch.zeros(1, 3, 31, 31)
    spike[..., 15, 15] = 1.0
    spread = gaussian_blur(spike, torch.tensor([10.0]), 7)[0, 0]
    assert int((spread > 0.0).sum()) == 15 * 15
    assert spread.sum().item() == pytest.approx(1.0, abs=1e-5)
