"""Sampling: equal bins, their middles, and one unbiased draw in each."""

import math

import pytest
import torch
from torch import Tensor

from dreamfields.render.settings import Jitter
from dreamfields.render.volume import MIDDLE, bin_edges, distances_in, draw_jitter
from tests.support.fields import seeded

NEAR, FAR = torch.tensor([3.0, 0.0, 2.0]), torch.tensor([5.0, 1.0, 2.0])
"""An ordinary ray, one from inside the cube, and one that misses."""


def edges(samples: int) -> Tensor:
    return bin_edges(NEAR, FAR, samples)


def midpoints(cut: Tensor) -> Tensor:
    return distances_in(cut, MIDDLE)


def drawn_in(cut: Tensor, seed: int = 0, jitter: Jitter = "sample") -> Tensor:
    return distances_in(cut, draw_jitter(len(cut), cut.shape[1] - 1, jitter, seeded(seed)))


@pytest.mark.parametrize("samples", [1, 2, 7, 48])
def test_bins_are_equal_and_fill_the_ray(samples: int) -> None:
    cut = edges(samples)
    assert cut.shape == (3, samples + 1)
    assert torch.allclose(cut[:, 0], NEAR)
    assert torch.allclose(cut[:, -1], FAR)
    lengths = cut[:, 1:] - cut[:, :-1]
    assert torch.allclose(lengths, ((FAR - NEAR) / samples)[:, None].expand(3, samples), atol=1e-6)


def test_a_ray_that_misses_has_bins_of_length_0() -> None:
    cut = edges(5)[2]
    assert torch.equal(cut[1:], cut[:-1])


def test_midpoints_are_halfway() -> None:
    assert midpoints(torch.tensor([[0.0, 1.0, 3.0], [4.0, 4.0, 5.0]])).tolist() == [[0.5, 2.0], [4.0, 4.5]]


def test_halving_the_bins_quarters_the_error_of_midpoint_sums() -> None:
    def error(samples: int) -> float:
        cut = bin_edges(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64), samples)
        return abs(float((midpoints(cut).exp() * (cut[:, 1:] - cut[:, :-1])).sum()) - (math.e - 1.0))

    orders = [math.log2(error(samples) / error(2 * samples)) for samples in (4, 8, 16)]
    assert orders == pytest.approx([2.0, 2.0, 2.0], abs=0.05)


@pytest.mark.parametrize("jitter", ["ray", "sample"])
def test_each_bin_holds_one_draw(jitter: Jitter) -> None:
    cut = edges(16)
    for seed in range(20):
        drawn = drawn_in(cut, seed, jitter)
        assert drawn.shape == (3, 16)
        assert (cut[:, :-1] <= drawn).all()
        assert (drawn <= cut[:, 1:]).all()


def test_draws_are_uniform_in_their_bin_and_independent() -> None:
    cut = bin_edges(torch.zeros(4000), torch.ones(4000), 4)
    fractions = (drawn_in(cut) - cut[:, :-1]) * 4.0
    # 4000 uniform draws a bin: mean 1/2, variance 1/12, no correlation, each within five standard errors.
    assert torch.allclose(fractions.mean(dim=0), torch.full((4,), 0.5), atol=5 * math.sqrt(1 / 12 / 4000))
    assert torch.allclose(fractions.var(dim=0), torch.full((4,), 1 / 12), atol=5 * math.sqrt(1 / 180 / 4000))
    correlations = torch.corrcoef(fractions.T) - torch.eye(4)
    assert correlations.abs().max() < 5 / math.sqrt(4000)


def test_with_one_draw_a_ray_its_samples_lie_evenly_apart() -> None:
    cut = bin_edges(torch.zeros(50), torch.ones(50), 8)
    drawn = drawn_in(cut, jitter="ray")
    assert torch.allclose(drawn.diff(dim=1), torch.full((50, 7), 0.125), atol=1e-6)
    assert drawn[:, 0].std() > 0.02


@pytest.mark.parametrize("jitter", ["ray", "sample"])
def test_sums_over_draws_are_unbiased(jitter: Jitter) -> None:
    cut = bin_edges(torch.zeros(2000), torch.ones(2000), 3)
    sums = (drawn_in(cut, jitter=jitter).exp() * (cut[:, 1:] - cut[:, :-1])).sum(dim=-1)
    error = float(sums.std()) / math.sqrt(2000)
    assert sums.mean().item() == pytest.approx(math.e - 1.0, abs=5 * error)


def test_the_generator_alone_decides_the_draws() -> None:
    assert torch.equal(drawn_in(edges(8), 3), drawn_in(edges(8), 3))
    assert not torch.equal(drawn_in(edges(8), 3), drawn_in(edges(8), 4))
