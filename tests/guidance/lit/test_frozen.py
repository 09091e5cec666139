"""The frozen network equals the package's layers, and its gradients equal autograd's."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from dreamfields.guidance.lit.frozen import Convolution, LockedNetwork, Stage, plain_activations, scaled
from dreamfields.guidance.lit.towers import fold_batch_norms, lock
from tests.guidance.lit.test_towers import shaken_network


def grad(activations: Tensor) -> Tensor:
    """Return a scalar that depends on every activation."""
    weights = torch.linspace(-1.0, 1.0, activations.shape[1])[:, None, None]
    return (weights * activations.square()).sum()


@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "efficientnet-lite2"])
@pytest.mark.parametrize("size", [48, 50, 61, 65])  # Odd sizes come up at every depth.
def test_a_frozen_network_is_the_package_s_rotated_by_180_degrees(architecture: str, size: int) -> None:
    network = shaken_network(architecture)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = network.extract_features(images)
        got = lock(fold_batch_norms(network))(images)
    assert torch.allclose(got.flip(2, 3), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [64, 50, 37])
def test_its_gradients_are_those_of_autograd(size: int) -> None:
    network = lock(fold_batch_norms(shaken_network("efficientnet-lite0"))).double()
    images = torch.randn(2, 3, size, size, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(grad(plain_activations(network, images)), images)
    (got,) = torch.autograd.grad(grad(network(images)), images)
    assert expected.abs().max() > 0.0
    assert torch.allclose(got, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_vjp_of_a_convolution_is_its_numerical_gradient(stride: int, kernel: int, groups: int) -> None:
    upright = nn.Conv2d(4, 4, kernel, stride, groups=groups).double()
    chain = LockedNetwork([Stage([Convolution(upright, clipped=True)], skip=stride == 1)])
    images = torch.randn(1, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(chain, (images,))


def test_clipping_stops_values_and_gradients_at_both_ends() -> None:
    upright = nn.Conv2d(1, 1, 1)
    nn.init.ones_(upright.weight)
    nn.init.zeros_(upright.bias)  # type: ignore[arg-type]
    chain = LockedNetwork([Stage([Convolution(upright, clipped=True)], skip=False)])
    images = torch.tensor([-1.0, 0.5, 5.5, 7.0]).reshape(1, 1, 2, 2).requires_grad_(True)
    activations = chain(images)
    assert activations.flip(2, 3).flatten().tolist() == [0.0, 0.5, 5.5, 6.0]
    activations.sum().backward()
    assert images.grad is not None
    assert images.grad.flatten().tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_caller_s_gradient_and_images_are_left_as_they_were() -> None:
    network = lock(fold_batch_norms(shaken_network("efficientnet-lite0")))
    images = torch.randn(1, 3, 33, 33, requires_grad=True)
    before = images.detach().clone()
    activations = network(images)
    wanted = torch.ones_like(activations)
    activations.backward(wanted)
    assert torch.equal(images.detach(), before)
    assert torch.equal(wanted, torch.ones_like(wanted))


def test_images_are_scaled_as_the_networks_were_trained_on_them() -> None:
    assert scaled(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-127.0 / 128.0, 0.5 / 128.0, 1.0]


def test_level_means_are_those_of_the_parts() -> None:
    network = lock(fold_batch_norms(shaken_network("efficientnet-lite0")))
    images = torch.rand(2, 3, 40, 40)
    means, turned = [], scaled(images)
    for part in network.parts():
        # The reference turns images round on their way in.
        turned = plain_activations(part, turned).flip(2, 3)
        means.append(turned.mean(dim=(2, 3)))
    assert torch.allclose(network.level_means(images), torch.cat(means, dim=1), rtol=1e-4, atol=1e-4)


def test_without_gradients_nothing_is_kept() -> None:
    network = lock(fold_batch_norms(shaken_network("efficientnet-lite0")))
    assert not network(torch.randn(1, 3, 32, 32)).requires_grad


def test_what_the_backward_pass_needs_is_freed_with_the_activations() -> None:
    network = lock(fold_batch_norms(shaken_network("efficientnet-lite0")))
    layer = network.stages[0].convolutions[0]
    kept: list[weakref.ref[Tensor]] = []
    layer.register_forward_hook(lambda _module, _inputs, output: kept.append(weakref.ref(output)))
    gc.disable()  # A cycle would wait for the collector, and memory would pile up until it comes.
    try:
        activations = network(torch.randn(1, 3, 32, 32, requires_grad=True))
        assert kept[0]() is not None
        activations.sum().backward()
        del activations
        assert kept[0]() is None
    finally:
        gc.enable()
