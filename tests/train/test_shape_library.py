"""Building a library of shapes: what may be in it, what is chosen, and its measure."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamfields.errors import UsageError
from dreamfields.prior.library import library_bytes
from dreamfields.train.library_measure import best_overlap, held_out_models, measure_library
from dreamfields.train.looks import Shape
from dreamfields.train.shape_library import PER_NAME, Solids, allowed_models, credit, gather, usual_models
from dreamfields.train.shapes import held_out, read_shapes
from dreamfields.train.solids import COARSE, FINE
from tests.support.models import write_models

CHAIR = Shape("c.npz", "chair", ("a red chair", "a chair"), ("red",), "furniture", 0.0, "CC0-1.0")


def made(path: Path) -> Solids:
    """Return the voxels of a small set."""
    work = gather(read_shapes(write_models(path)))
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def slabs(heights: list[int], names: list[str]) -> Solids:
    """Return slabs of some heights, at most 9 nodes."""
    filled = torch.zeros(len(heights), 9, 9, 9, dtype=torch.bool)
    for index, height in enumerate(heights):
        filled[index, :, :height] = True
    distinct = list(dict.fromkeys(names))
    embeddings = torch.eye(len(distinct))[[distinct.index(name) for name in names]]
    shapes = tuple(replace(CHAIR, file=f"{index}.npz", name=name) for index, name in enumerate(names))
    return Solids(shapes, embeddings, filled, torch.zeros(len(heights), 2, 2, 2, 3, dtype=torch.uint8))


def test_a_set_becomes_a_library_and_the_same_again(tmp_path: Path) -> None:
    data = made(tmp_path / "shapes")
    count = len(data.shapes)
    assert data.filled.shape == (count, FINE, FINE, FINE)
    assert data.colours.shape == (count, COARSE, COARSE, COARSE, 3)
    assert "\n" not in repr(data)
    library = data.library(torch.ones(count, dtype=torch.bool))
    assert set(library.names) == set(data.names)
    for index in range(count):
        assert library.predict(data.embeddings[index]).name == data.names[index]
    again = made(tmp_path / "again")
    assert library_bytes(again.library(torch.ones(count, dtype=torch.bool)), {}) == library_bytes(library, {})


def test_a_model_that_asks_for_a_credit_goes_in_only_where_no_free_one_has_its_name(tmp_path: Path) -> None:
    asks = replace(CHAIR, licence="CC-BY-3.0-US", author="A. Maker", found_at="https://example.org/1")
    table, closed = replace(asks, name="table"), replace(CHAIR, licence="CC-BY-NC-4.0")
    repainted = replace(CHAIR, repainted=True)
    assert allowed_models([CHAIR, asks, table, closed, repainted]).tolist() == [True, False, True, False, False]
    assert allowed_models([asks]).tolist() == [True]
    with pytest.raises(UsageError, match="no model of the set can be started from"):
        allowed_models([closed, repainted])
    assert credit(CHAIR) == ""
    assert credit(table) == "'table' by A. Maker, CC BY 3.0 US, https://example.org/1"
    assert credit(replace(table, licence="CC-BY-4.0", found_at="")) == "'table' by A. Maker, CC BY 4.0"
    assert read_shapes(write_models(tmp_path / "s")).shapes["box-red.npz"].licence == ""


def test_the_most_usual_models_of_a_name_are_chosen() -> None:
    data = slabs([4, 4, 4, 5, 9, 1], ["chair"] * 5 + ["table"])
    everything = torch.ones(6, dtype=torch.bool)
    assert usual_models(data, everything) == [0, 1, 2, 5]
    assert PER_NAME == 3
    without = everything.clone()
    without[:2] = False
    assert 0 not in usual_models(data, without)


def test_models_are_held_out_of_names_that_have_several() -> None:
    name = next(name for name in ("chair", "table", "lamp") if not held_out(name))
    many = [replace(CHAIR, name=name, file=f"{index}.npz") for index in range(200)]
    chosen = held_out_models(many)
    assert 10 < int(chosen.sum()) < 60
    assert not held_out_models(many[:2]).any()
    hidden = next(f"thing {index}" for index in range(99) if held_out(f"thing {index}"))
    assert not held_out_models([replace(one, name=hidden) for one in many]).any()


def test_the_overlap_of_a_mean_is_that_above_its_best_threshold() -> None:
    model = torch.zeros(4, 4, 4, dtype=torch.bool)
    model[:2] = True
    assert best_overlap(model.float(), model) == 1.0
    assert best_overlap(0.35 * model.float(), model) == 1.0
    assert best_overlap(torch.zeros(4, 4, 4), model) == 0.0


def test_a_library_is_measured_on_what_it_does_not_hold() -> None:
    names = [next(f"thing {index}" for index in range(99) if held_out(f"thing {index}")), "chair", "table"]
    known = [name for name in names[1:] if not held_out(name)] or ["lamp"]
    data = slabs([4] * 40 + [5] * 3, [known[0]] * 40 + [names[0]] * 3)
    found = measure_library(data)
    assert [one.known_names for one in found.values()] == [1.0, 1.0, 1.0]
    assert [one.unseen_names for one in found.values()] == pytest.approx([0.8, 0.8, 0.8])
