"""Schedules: their ends, their middle, and that they only ever move one way."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.optimize.schedules import learning_rate, transmittance_target

SHARES = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, 0.2),
        (0.5, 0.5 * (0.2 + 0.02)),
        (1.0, 0.02),
        (0.25, 0.02 + 0.18 * 0.5 * (1.0 + math.cos(math.pi / 4.0))),
    ],
)
def test_the_learning_rate_is_a_cosine_from_its_peak_to_its_share(progress: float, expected: float) -> None:
    assert learning_rate(progress, 0.2, 0.1) == pytest.approx(expected)


@given(share=SHARES)
def test_the_learning_rate_only_falls(share: float) -> None:
    rates = [learning_rate(index / 20, 1.0, share) for index in range(21)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.4), (0.25, 1.0 - math.sqrt(0.6 * 0.12)), (0.5, 0.88), (0.9, 0.88), (1.0, 0.88)]
)
def test_the_opacity_asked_for_falls_geometrically_over_the_ramp_then_stays(progress: float, expected: float) -> None:
    assert transmittance_target(progress, 0.4, 0.88, 0.5) == pytest.approx(expected)


@given(start=SHARES, end=SHARES, ramp=SHARES, progress=SHARES)
def test_the_target_stays_between_its_ends(start: float, end: float, ramp: float, progress: float) -> None:
    target = transmittance_target(progress, start, end, ramp)
    assert min(start, end) - 2e-6 <= target <= max(start, end) + 2e-6


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_without_a_ramp_the_end_holds_from_the_start(progress: float) -> None:
    assert transmittance_target(progress, 0.4, 0.8, 0.0) == pytest.approx(0.8)
