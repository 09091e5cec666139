"""The compiled blur equals the product with matrices; threads change no bit."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.render.blur import gaussian_blur, gaussian_blur_reference
from tests.support.fields import seeded


@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 3),
    size=st.integers(1, 12),
    widest=st.floats(0.0, 9.0),
    reach=st.integers(0, 15),
    seed=st.integers(0, 99),
)
def test_the_loop_equals_the_definition(
    count: int, channels: int, size: int, widest: float, reach: int, seed: int
) -> None:
    source = seeded(seed)
    images = torch.rand((count, channels, size, size), generator=source)
    deviations = widest * torch.rand(count, generator=source)
    blurred, expected = (blur(images, deviations, reach) for blur in (gaussian_blur, gaussian_blur_reference))
    assert blurred.shape == images.shape
    assert torch.allclose(blurred, expected, atol=2e-6)


@pytest.mark.parametrize("blur", [gaussian_blur, gaussian_blur_reference])
def test_images_that_are_not_contiguous_or_not_of_float32_are_blurred_too(blur: Callable[..., Tensor]) -> None:
    images, deviations = torch.rand((2, 3, 8, 8), generator=seeded()), torch.tensor([1.0, 2.0])
    turned = images.transpose(-1, -2)
    assert torch.allclose(blur(turned, deviations), blur(images, deviations).transpose(-1, -2), atol=1e-6)
    assert torch.allclose(
        gaussian_blur(images.double(), deviations.double()).float(), blur(images, deviations), atol=1e-5
    )


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    images, deviations = torch.rand((3, 3, 9, 9), generator=seeded()), torch.tensor([0.0, 1.0, 3.0])
    alone = gaussian_blur(images, deviations)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(gaussian_blur(images, deviations), alone)


@pytest.mark.usefixtures("without_numba")
def test_without_numba_the_definition_is_used() -> None:
    images, deviations = torch.rand((2, 3, 7, 7), generator=seeded()), torch.tensor([0.5, 2.0])
    assert torch.equal(gaussian_blur(images, deviations), gaussian_blur_reference(images, deviations))
