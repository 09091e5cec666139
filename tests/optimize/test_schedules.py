"""Schedules: their ends, their middle, and that they only ever move one way."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.optimize.schedules import learning_rate, ramp, transmittance_target

FRACTIONS = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (0.0, 0.2),
        (0.5, 0.5 * (0.2 + 0.02)),
        (1.0, 0.02),
        (0.25, 0.02 + 0.18 * 0.5 * (1.0 + math.cos(math.pi / 4.0))),
    ],
)
def test_the_learning_rate_is_a_cosine_from_its_peak_to_its_final_fraction(progress: float, expected: float) -> None:
    assert learning_rate(progress, 0.2, 0.1) == pytest.approx(expected)


@given(fraction=FRACTIONS)
def test_the_learning_rate_only_falls(fraction: float) -> None:
    rates = [learning_rate(index / 20, 1.0, fraction) for index in range(21)]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(rates))


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.4), (0.25, 1.0 - math.sqrt(0.6 * 0.12)), (0.5, 0.88), (0.9, 0.88), (1.0, 0.88)]
)
def test_the_target_opacity_falls_geometrically_over_the_ramp_then_stays(progress: float, expected: float) -> None:
    assert transmittance_target(progress, 0.4, 0.88, 0.5) == pytest.approx(expected)


@given(start=FRACTIONS, end=FRACTIONS, ramp=FRACTIONS, progress=FRACTIONS)
def test_the_target_stays_between_its_ends(start: float, end: float, ramp: float, progress: float) -> None:
    target = transmittance_target(progress, start, end, ramp)
    assert min(start, end) - 2e-6 <= target <= max(start, end) + 2e-6


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.0), (0.3, 0.0), (0.4, 0.2), (0.55, 0.5), (0.8, 1.0), (1.0, 1.0)]
)
def test_a_ramp_is_a_straight_line_between_flat_ends(progress: float, expected: float) -> None:
    assert ramp(progress, 0.3, 0.8) == pytest.approx(expected)


@given(bounds=st.tuples(FRACTIONS, FRACTIONS).map(sorted), progress=FRACTIONS, later=FRACTIONS)
def test_a_ramp_never_falls_and_stays_between_0_and_1(bounds: list[float], progress: float, later: float) -> None:
    low, high = sorted((progress, later))
    assert 0.0 <= ramp(low, *bounds) <= ramp(high, *bounds) <= 1.0


def test_a_ramp_of_no_length_is_a_jump_and_one_at_the_end_never_comes() -> None:
    assert [ramp(progress, 0.5, 0.5) for progress in (0.49, 0.5, 0.51)] == [0.0, 1.0, 1.0]
    assert ramp(0.999, 1.0, 1.0) == 0.0


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_without_a_ramp_the_end_holds_from_the_start(progress: float) -> None:
    assert transmittance_target(progress, 0.4, 0.8, 0.0) == pytest.approx(0.8)
