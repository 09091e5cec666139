"""Each compiled layer equals torch's, and what is said to be a transpose is one."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from dreamfields.guidance.cpu import ADD, CLIP, LANES, MASK, PLAIN, STEM, Band, Depthwise, Shape, loops
from dreamfields.guidance.cpu.layers import _matrix
from dreamfields.guidance.lit.frozen import scaled

Floats = NDArray[np.float32]


def random(*shape: int) -> Floats:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) * 3.0


def finished(sums: Floats, mode: int, bits: NDArray[np.uint8], added: Floats) -> Floats:
    """What `mode` makes of sums: the definition."""
    if mode == CLIP:
        return np.clip(sums, 0.0, 6.0)
    if mode == MASK:
        return np.where(np.unpackbits(bits, bitorder="little").reshape(sums.shape), sums, np.float32(0.0))
    return sums + added if mode == ADD else sums


@pytest.mark.parametrize("mode", [PLAIN, CLIP, MASK, ADD])
@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (16, 24), (40, 16), (24, 40)])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 12, 97, 200])
def test_a_product_is_that_of_matrices(rows: int, inputs: int, outputs: int, mode: int) -> None:
    weights, bias, values = random(outputs, inputs), random(outputs), random(rows, inputs)
    bits = np.random.default_rng(0).integers(0, 256, rows * outputs // LANES).astype(np.uint8)
    given, added = bits.copy(), random(rows, outputs)
    sums = values @ weights.T + bias
    out = np.full(rows * outputs + LANES, 99.0, np.float32)
    matrix = _matrix(torch.from_numpy(weights), torch.from_numpy(bias))
    loops.product(matrix, rows, values.ravel(), out, mode, bits, added.ravel())
    assert np.allclose(out[:-LANES].reshape(sums.shape), finished(sums, mode, given, added), rtol=1e-5, atol=1e-4)
    assert (out[-LANES:] == 99.0).all()
    if mode == CLIP:
        inside = (out[:-LANES] > 0.0) & (out[:-LANES] < 6.0)
        assert np.array_equal(np.unpackbits(bits, bitorder="little"), inside)
    else:
        assert np.array_equal(bits, given)


@pytest.mark.parametrize("mode", [PLAIN, CLIP, MASK])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (6, 4), (7, 9)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_filter_is_torch_s_convolution_of_each_channel(
    kernel: int, stride: int, height: int, width: int, mode: int
) -> None:
    channels, padding = 72, (kernel - 1) // 2
    weights, bias, image = random(channels, 1, kernel, kernel), random(channels), random(height, width, channels)
    given = torch.from_numpy(image.transpose(2, 0, 1)[None])
    sums = functional.conv2d(given, torch.from_numpy(weights), torch.from_numpy(bias), stride, padding, 1, channels)
    expected = sums[0].permute(1, 2, 0).numpy()
    out_height, out_width, _ = expected.shape
    shape = Shape(height, width, out_height, out_width, 1, 1)
    layer = Depthwise(weights[:, 0].transpose(1, 2, 0).ravel(), bias, kernel, channels, stride, 1)
    bits = np.random.default_rng(0).integers(0, 256, expected.size // LANES).astype(np.uint8)
    wanted = finished(expected, mode, bits, expected)
    out, lines = np.empty(expected.size, np.float32), np.empty(kernel * (width + kernel) * channels, np.float32)
    loops.depthwise(layer, shape, Band(0, len(expected), 0), image.ravel(), out, mode, bits, lines)
    assert np.allclose(out, wanted.ravel(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (4, 4), (5, 8), (9, 7)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_filter_of_dilated_inputs_is_the_transpose(kernel: int, stride: int, height: int, width: int) -> None:
    channels, out_height, out_width = 8, -(-height // stride), -(-width // stride)
    weights, none = random(kernel, kernel, channels), np.zeros(channels, np.float32)
    there = Depthwise(weights.ravel(), none, kernel, channels, stride, 1)
    back = Depthwise(weights[::-1, ::-1].ravel(), none, kernel, channels, 1, stride)
    x, y = random(height, width, channels), random(out_height, out_width, channels)
    bits, lines = np.empty(x.size, np.uint8), np.empty(kernel * (width + kernel) * channels, np.float32)
    of_x, of_y = np.empty(y.size, np.float32), np.empty(x.size, np.float32)
    shape = Shape(height, width, out_height, out_width, 1, 1)
    back_shape = Shape(out_height, out_width, height, width, 1, 1)
    loops.depthwise(there, shape, Band(0, out_height, 0), x.ravel(), of_x, PLAIN, bits, lines)
    loops.depthwise(back, back_shape, Band(0, height, 0), y.ravel(), of_y, PLAIN, bits, lines)
    assert of_x @ y.ravel() == pytest.approx(float(x.ravel() @ of_y), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (6, 6), (7, 4)])
def test_columns_are_what_the_stem_sees_and_folding_is_the_transpose(height: int, width: int) -> None:
    shape = Shape(height, width, -(-height // 2), -(-width // 2), 1, 1)
    places = shape.out_height * shape.out_width
    image, columns = random(height, width, 3), np.full(places * STEM, 99.0, np.float32)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    loops.unfold(shape, padded.ravel(), columns)
    seen = functional.unfold(torch.from_numpy(image.transpose(2, 0, 1)[None]), 3, padding=1, stride=2)
    expected = seen[0].reshape(3, 9, places).permute(2, 1, 0).reshape(places, 27).numpy()
    assert np.array_equal(columns.reshape(places, STEM)[:, :27], expected)
    assert not columns.reshape(places, STEM)[:, 27:].any()
    given, folded = random(places, STEM), np.empty(padded.size, np.float32)
    loops.fold(shape, given.ravel(), folded)
    assert columns @ given.ravel() == pytest.approx(float(padded.ravel() @ folded), rel=1e-4, abs=1e-3)


def test_the_stem_takes_images_as_the_reference_does_within_a_border_of_zeros() -> None:
    height, width = 4, 5
    shape, image = Shape(height, width, 2, 3, 1, 1), torch.rand(1, 3, height, width, requires_grad=True)
    rotated = scaled(image).flip(2, 3)
    padded = np.full((height + 2, width + 2, 3), 99.0, np.float32)
    loops.take_image(shape, image.detach().numpy().ravel(), padded.ravel())
    expected = np.pad(rotated[0].detach().permute(1, 2, 0).numpy(), ((1, 1), (1, 1), (0, 0)))
    assert np.allclose(padded, expected, rtol=1e-6, atol=1e-6)
    given, gradient = random(height + 2, width + 2, 3), np.empty(image.numel(), np.float32)
    (wanted,) = torch.autograd.grad(rotated, image, torch.from_numpy(given[1:-1, 1:-1].transpose(2, 0, 1)[None].copy()))
    loops.give_gradient(shape, given.ravel(), gradient)
    assert np.allclose(gradient, wanted.numpy().ravel(), rtol=1e-6)


def test_a_mean_of_thousands_is_not_rounded_away() -> None:
    values, means = 1.0 + random(2, 30_000, 8) / 100.0, np.empty(16, np.float32)
    loops.average(2, 30_000, values.ravel(), np.empty(8, np.float32), means)
    assert np.allclose(means.reshape(2, 8), values.mean(axis=1, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("mode", [PLAIN, MASK])
def test_a_share_of_the_gradient_of_a_mean_is_added_everywhere(mode: int) -> None:
    images, positions, channels = 2, 5, 16
    shares, before = random(images, channels), random(images, positions, channels)
    bits = np.random.default_rng(0).integers(0, 256, before.size // LANES).astype(np.uint8)
    gradient = before.copy().ravel()
    loops.spread(images, positions, shares.ravel(), gradient, mode, bits)
    expected = finished(before + shares[:, None], mode, bits, before)
    assert np.array_equal(gradient.reshape(before.shape), expected)
