"""The network that predicts coarse objects, and its file."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.errors import MissingPackageError
from dreamfields.prior.network import (
    PriorSizes,
    ShapePrior,
    best_threshold,
    expected_overlap,
    prior_bytes,
    read_prior,
)

SIZES = PriorSizes(embedding=6, nodes=5, hidden=8, shapes=4, colours=3)


def network(seed: int = 0) -> ShapePrior:
    """Return a small random prior."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ShapePrior(SIZES).requires_grad_(False).eval()


def test_of_a_certain_shape_the_expected_overlap_is_one() -> None:
    shape = (torch.rand((4, 4, 4), generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert expected_overlap(shape, torch.tensor(0.5)) == 1.0
    assert best_threshold(shape)[1] == 1.0


def test_of_an_even_guess_it_is_the_guess() -> None:
    guess = torch.full((3, 3, 3), 0.4)
    assert expected_overlap(guess, torch.tensor(0.3)) == pytest.approx(0.4)
    assert expected_overlap(guess, torch.tensor(0.5)) == 0.0


@given(st.integers(0, 99), st.floats(0.1, 0.9))
def test_the_expected_overlap_is_that_of_the_mean_over_drawn_shapes(seed: int, threshold: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    probability = torch.rand((4, 4, 4), generator=draws)
    above = probability > threshold
    drawn = torch.rand((4000, 4, 4, 4), generator=draws) < probability
    intersections, unions = (drawn & above).flatten(1).sum(1).float(), (drawn | above).flatten(1).sum(1).float()
    ratio = intersections.mean() / unions.mean()
    assert expected_overlap(probability, torch.tensor(threshold)) == pytest.approx(float(ratio), abs=0.02)


@given(st.integers(0, 99))
def test_no_other_threshold_expects_more(seed: int) -> None:
    probability = torch.rand((4, 4, 4), generator=torch.Generator().manual_seed(seed))
    threshold, overlap = best_threshold(probability)
    assert all(expected_overlap(probability, other) <= overlap for other in torch.arange(0.1, 0.6, 0.1))
    assert expected_overlap(probability, threshold) == overlap


def test_the_surface_of_a_prediction_is_at_one_half() -> None:
    prior = network()
    embedding = torch.nn.functional.normalize(torch.ones(6), dim=0)
    found = prior.predict(embedding)
    probability = torch.sigmoid(prior(embedding[None])[0][0])
    threshold, overlap = best_threshold(probability)
    assert found.overlap == pytest.approx(float(overlap))
    assert torch.equal(found.coarse.occupancy > 0.5, probability > threshold)
    assert found.coarse.colours.shape == (5, 5, 5, 3)
    assert 0.0 <= found.coarse.colours.min() <= found.coarse.colours.max() <= 1.0


def test_a_file_is_read_back(tmp_path: Path) -> None:
    prior, path = network(), tmp_path / "prior.safetensors"
    path.write_bytes(prior_bytes(prior, {"seed": "0"}))
    again = read_prior(path)
    assert again.sizes == SIZES
    assert len(again.identity) == 64
    for name, value in prior.state_dict().items():
        assert torch.allclose(again.state_dict()[name], value, atol=1e-3), name
    assert prior_bytes(again, {"seed": "0"}) == path.read_bytes()


def test_a_file_that_is_no_prior_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    with pytest.raises(MissingPackageError, match=r"cannot be read .*dreamfields prior train"):
        read_prior(path)
    whole = prior_bytes(network(), {})
    for content in (b"", whole[:200], whole[:-8], b"x" * 64, safetensors.torch.save({"a": torch.ones(2)})):
        path.write_bytes(content)
        with pytest.raises(MissingPackageError, match=r"cut short or holds no prior .*dreamfields prior train"):
            read_prior(path)
    state = {**network().state_dict(), "tint.bias": torch.full((375,), float("nan"))}
    path.write_bytes(safetensors.torch.save(state, {"prior": json.dumps({"format": "1"})}))
    with pytest.raises(MissingPackageError, match="not finite"):
        read_prior(path)


def test_a_file_of_another_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "prior.safetensors"
    state = {name: value.half() for name, value in network().state_dict().items()}
    path.write_bytes(safetensors.torch.save(state, {"prior": json.dumps({"format": "9"})}))
    with pytest.raises(MissingPackageError, match="a prior of format 9, and this version reads 1"):
        read_prior(path)
