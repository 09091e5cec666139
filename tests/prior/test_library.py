"""The library of shapes, its lookup and its file."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.prior.library import ShapeLibrary, library_bytes, mean_overlaps, read_library
from dreamfields.scene.fields.base import lattice

NODES = 9


def box(half: float, shift: float = 0.0) -> torch.Tensor:
    """Return a cube of a half side, moved along x, on the lattice."""
    points = lattice(NODES - 1, torch.device("cpu")).points - torch.tensor([shift, 0.0, 0.0])
    return (points.abs().amax(dim=1) < half).reshape(NODES, NODES, NODES)


def library() -> ShapeLibrary:
    """Return three boxes named alike, of which the last lies elsewhere, and a large one of another name."""
    draws = torch.Generator().manual_seed(0)
    names = functional.normalize(torch.randn((2, 16), generator=draws), dim=1)
    embeddings = names[[0, 0, 0, 1]]
    solids = torch.stack([box(0.4, 0.6), box(0.4), box(0.6), box(0.9)])
    colours = torch.randint(256, (4, 3, 3, 3, 3), generator=draws, dtype=torch.uint8)
    return ShapeLibrary(("brick", "brick", "brick", "crate"), ("", "", "by one", "by two"), embeddings, solids, colours)


def test_of_the_nearest_models_the_most_usual_is_found() -> None:
    shapes = library()
    found = shapes.predict(shapes.embeddings[0])
    assert found.name == "brick"
    assert found.cosine == pytest.approx(1.0)
    assert torch.equal(found.coarse.occupancy, shapes.coarse(1).occupancy)  # It overlaps with both others.
    crate = shapes.predict(functional.normalize(shapes.embeddings[3] + 0.02, dim=0))
    assert crate.name == "crate"
    assert 0.9 < crate.cosine < 1.0


def test_overlaps_are_intersection_over_union() -> None:
    first = torch.zeros(2, 2, 2, dtype=torch.bool)
    first[0] = True  # 4 of 8 nodes
    whole, none = torch.ones(2, 2, 2, dtype=torch.bool), torch.zeros(2, 2, 2, dtype=torch.bool)
    assert mean_overlaps(torch.stack([first, whole])).tolist() == [0.75, 0.75]
    assert mean_overlaps(torch.stack([whole, whole, none])).tolist() == pytest.approx([2 / 3, 2 / 3, 0.0])


def test_a_coarse_object_has_soft_edges_and_the_colours_of_its_parts() -> None:
    shapes = library()
    coarse = shapes.coarse(3)
    occupancy, solid = coarse.occupancy, shapes.solids[3]
    assert occupancy.shape == (NODES, NODES, NODES)
    assert ((occupancy > 0.0) & (occupancy < 1.0)).any()
    assert occupancy[solid].min() > occupancy[~solid].max() - 0.5
    assert coarse.colours.shape == (NODES, NODES, NODES, 3)
    assert torch.allclose(coarse.colours[0, 0, 0], shapes.colours[3, 0, 0, 0] / 255.0)
    assert torch.allclose(coarse.colours[4, 4, 4], shapes.colours[3, 1, 1, 1] / 255.0, atol=1e-6)


def test_a_file_is_read_back(tmp_path: Path) -> None:
    shapes, path = library(), tmp_path / "shapes.safetensors"
    path.write_bytes(library_bytes(shapes, {"set": "boxes"}))
    again = read_library(path)
    assert again.names == shapes.names
    assert again.credits == shapes.credits
    assert torch.equal(again.solids, shapes.solids)
    assert torch.equal(again.colours, shapes.colours)
    assert (again.embeddings * shapes.embeddings).sum(dim=1).min() > 0.999
    assert len(again.identity) == 64
    assert library_bytes(shapes, {"set": "boxes"}) == path.read_bytes()


def test_shapes_that_ask_for_a_credit_say_so_and_can_be_left_out() -> None:
    shapes = library()
    crate = shapes.embeddings[3]
    assert shapes.predict(crate).credit == "by two"
    assert shapes.predict(shapes.embeddings[0]).credit == ""
    free = shapes.without_credits()
    assert free.names == ("brick", "brick")
    assert free.predict(crate).name == "brick"
    assert free.predict(crate).credit == ""
    assert torch.equal(free.solids, shapes.solids[:2])


def changed(**facts: object) -> bytes:
    """Return a file with some facts of its metadata changed."""
    content = library_bytes(library(), {})
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    known = json.loads(header["__metadata__"]["library"])
    return safetensors.torch.save(safetensors.torch.load(content), {"library": json.dumps({**known, **facts})})


def test_a_file_that_is_no_library_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "shapes.safetensors"
    with pytest.raises(MissingPackageError, match=r"cannot be read .*dreamfields prior build"):
        read_library(path)
    whole = library_bytes(library(), {})
    bad = (b"", whole[:200], whole[:-8], b"x" * 64, safetensors.torch.save({"a": torch.ones(2)}))
    wrong = (changed(nodes=65), changed(nodes=2), changed(nodes=10**6), changed(names=[]), changed(names="brick"))
    for content in (*bad, *wrong):
        path.write_bytes(content)
        with pytest.raises(MissingPackageError, match=r"cut short or holds no prior .*dreamfields prior build"):
            read_library(path)


def test_a_file_of_another_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "shapes.safetensors"
    path.write_bytes(changed(format="9"))
    with pytest.raises(MissingPackageError, match="a prior of format 9, and this version reads 2"):
        read_library(path)
