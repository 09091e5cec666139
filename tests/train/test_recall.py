"""Recall: closed forms on scores whose ranks are known."""

from pathlib import Path

import pytest
import torch

from dreamfields.errors import UsageError
from dreamfields.train.measure import heldout
from dreamfields.train.pairs import read_pairs
from dreamfields.train.recall import recall
from tests.support.sets import write_set


def test_perfect_scores_find_everything_and_constant_ones_nothing() -> None:
    owner = torch.arange(40).repeat_interleave(5)
    perfect = recall(torch.eye(40)[owner])
    assert perfect.pictures == perfect.sentences == (1.0, 1.0, 1.0)
    constant = recall(torch.zeros(200, 40))
    assert constant.pictures == constant.sentences == (0.0, 0.0, 0.0)


def test_ranks_by_hand() -> None:
    # Sentence i ranks its picture i + 1-th: the first alone is found first, five among five, ten among ten.
    scores = torch.full((20, 20), -1.0)
    for row in range(20):
        others = [column for column in range(20) if column != row]
        scores[row, row] = 0.0
        scores[row, others[:row]] = 1.0
    assert recall(scores).pictures == pytest.approx((1 / 20, 5 / 20, 10 / 20))
    assert recall(scores.T).sentences == pytest.approx((1 / 20, 5 / 20, 10 / 20))


def test_a_pictures_best_sentence_counts_and_its_others_do_not_stand_before_it() -> None:
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.0], [0.5, 0.4], [0.0, 0.3]])
    assert recall(scores).sentences == (1.0, 1.0, 1.0)
    assert recall(scores).pictures[0] == pytest.approx(3 / 4)


def test_only_held_out_pictures_are_measured(tmp_path: Path) -> None:
    pictures = read_pairs(str(write_set(tmp_path / "shapes", heldout=4)))
    assert [pair.split for pair in heldout(pictures, 3)] == ["heldout"] * 3
    assert len(heldout(pictures, 1000)) == 4
    with pytest.raises(UsageError, match="no held-out pictures"):
        heldout(read_pairs(str(write_set(tmp_path / "all"))), 10)
