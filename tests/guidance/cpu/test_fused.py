"""The compiled towers equal the locked networks of torch, image by image and bit by bit the same in any company."""

import gc
import weakref
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dreamfields.guidance.cpu import fused, layers
from dreamfields.guidance.lit.frozen import Convolution, LockedNetwork, Stage
from dreamfields.guidance.lit.towers import fold_batch_norms, lock
from tests.guidance.lit.test_towers import shaken_network

ARCHITECTURES = ["efficientnet-lite0", "efficientnet-lite2"]


@cache
def locked(architecture: str) -> LockedNetwork:
    """A network with random batch norms, so that no layer is an identity."""
    torch.manual_seed(0)
    return lock(fold_batch_norms(shaken_network(architecture)))


def scored(network: LockedNetwork, images: Tensor, *, compiled: bool) -> tuple[Tensor, Tensor]:
    """Return the means of all levels, and the gradient of a sum of them of which each image has its own."""
    images = images.clone().requires_grad_()
    means = fused.level_means(network, images) if compiled else network.level_means(images)
    weights = torch.cos(torch.arange(means.shape[1], dtype=means.dtype))
    (gradient,) = torch.autograd.grad((weights * means).sum(), images)
    return means.detach(), gradient


def errors(got: Tensor, expected: Tensor) -> Tensor:
    """Return the relative error of each image, (b,)."""
    off: Tensor = torch.linalg.vector_norm((got - expected).flatten(1), dim=1)
    relative: Tensor = off / torch.linalg.vector_norm(expected.flatten(1), dim=1)
    return relative


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=15)
@given(height=st.integers(16, 70), width=st.integers(16, 70), count=st.integers(3, 5), seed=st.integers(0, 99))
def test_means_and_gradients_are_the_reference_s(
    architecture: str, height: int, width: int, count: int, seed: int
) -> None:
    network, images = (
        locked(architecture),
        torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)),
    )
    assert fused.usable(network, images)
    means, gradient = scored(network, images, compiled=True)
    expected_means, expected_gradient = scored(network, images, compiled=False)
    assert errors(means, expected_means).max() < 1e-5
    # An activation at the very end of ReLU6's range may be inside for one and outside for the other. That changes the
    # gradient of one image in many, of torch's own sums in another order as well.
    off = errors(gradient, expected_gradient)
    assert off.median() < 1e-4
    assert off.max() < 0.1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [128, 176, 209])
def test_they_are_the_reference_s_at_the_sizes_that_guide(architecture: str, size: int) -> None:
    network, images = locked(architecture), torch.rand(3, 3, size, size)
    means, gradient = scored(network, images, compiled=True)
    expected_means, expected_gradient = scored(network, images, compiled=False)
    assert errors(means, expected_means).max() < 1e-5
    assert errors(gradient, expected_gradient).median() < 2e-3
    cosines = torch.cosine_similarity(gradient.flatten(1), expected_gradient.flatten(1))
    assert cosines.min() > 0.9999


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", [32, 48, 100])
def test_an_image_has_the_same_bits_in_any_batch_and_with_any_number_of_threads(size: int) -> None:
    network, images = locked(ARCHITECTURES[0]), torch.rand(5, 3, size, size)
    means, gradient = scored(network, images, compiled=True)
    for i in range(len(images)):
        alone = scored(network, images[i : i + 1], compiled=True)
        assert torch.equal(alone[0][0], means[i])
        assert torch.equal(alone[1][0], gradient[i])
    for count in (2, 3, 8):
        torch.set_num_threads(count)
        shared = scored(network, images, compiled=True)
        assert torch.equal(shared[0], means)
        assert torch.equal(shared[1], gradient)


@pytest.mark.parametrize(("together", "band"), [(1, 1), (1, 10**6), (400, 10**6)])
def test_bands_and_images_together_change_no_bit(monkeypatch: pytest.MonkeyPatch, together: int, band: int) -> None:
    network, images = locked(ARCHITECTURES[0]), torch.rand(3, 3, 61, 77)
    expected = scored(network, images, compiled=True)
    monkeypatch.setattr(layers, "_TOGETHER", together)
    monkeypatch.setattr(layers, "_BAND", band)
    got = scored(LockedNetwork(network.stages), images, compiled=True)  # A new one, for which nothing is planned yet.
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


def test_what_is_not_a_number_stays_so() -> None:
    images = torch.rand(2, 3, 48, 48)
    images[1, 0, 20, 20] = torch.nan
    means = fused.level_means(locked(ARCHITECTURES[0]), images)
    assert means[0].isfinite().all()
    assert means[1].isnan().all()


def test_the_images_and_the_caller_s_gradient_are_left_as_they_were() -> None:
    images = torch.rand(2, 3, 40, 40, requires_grad=True)
    before = images.detach().clone()
    means = fused.level_means(locked(ARCHITECTURES[0]), images)
    wanted = torch.ones_like(means)
    means.backward(wanted)
    assert torch.equal(images.detach(), before)
    assert torch.equal(wanted, torch.ones_like(wanted))


def test_images_and_gradients_may_lie_in_memory_in_any_order() -> None:
    network, images = locked(ARCHITECTURES[0]), torch.rand(2, 3, 40, 40)
    expected = scored(network, images, compiled=True)
    got = scored(network, images.contiguous(memory_format=torch.channels_last), compiled=True)
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


def test_without_gradients_nothing_is_kept() -> None:
    assert not fused.level_means(locked(ARCHITECTURES[0]), torch.rand(1, 3, 32, 32)).requires_grad


def test_what_the_backward_pass_needs_is_freed_with_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[object]] = []

    def forward(*given: object) -> object:
        tapes = before(*given)  # type: ignore[arg-type]
        kept.append(weakref.ref(tapes[0]))
        return tapes

    before = fused._forward
    monkeypatch.setattr(fused, "_forward", forward)
    gc.disable()  # A cycle would wait for the collector, and memory would pile up until it comes.
    try:
        means = fused.level_means(locked(ARCHITECTURES[0]), torch.rand(1, 3, 32, 32, requires_grad=True))
        assert kept[0]() is not None
        means.sum().backward()
        del means
        assert kept[0]() is None
    finally:
        gc.enable()


def test_only_what_the_loops_can_do_is_asked_of_them() -> None:
    network, images = locked(ARCHITECTURES[0]), torch.zeros(1, 3, 32, 32)
    assert fused.usable(network, images)
    assert not fused.usable(network, images.double())
    assert not fused.usable(network, images.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not fused.usable(network, images)
    stem, *blocks, head = network.stages
    others = [
        LockedNetwork([stem]),
        LockedNetwork([stem, head]),
        LockedNetwork([stem, *blocks[1:], head]),
        LockedNetwork([*blocks, head]),
        LockedNetwork([Stage([Convolution(nn.Conv2d(3, 12, 3, 2), clipped=True)], skip=False), *blocks, head]),
    ]
    assert not any(fused.usable(other, images) for other in others)
    assert not fused.usable(lock(fold_batch_norms(shaken_network(ARCHITECTURES[0]))).double(), images)


@pytest.mark.usefixtures("without_numba")
def test_without_numba_they_are_not_used() -> None:
    assert not fused.usable(locked(ARCHITECTURES[0]), torch.zeros(1, 3, 32, 32))
