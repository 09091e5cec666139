"""Which things have a front: names with the answer, and the regression fitted to them."""

from pathlib import Path

import pytest
import torch

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.lit import fronts as packaged
from dreamfields.guidance.lit.fronts import packaged_probe
from dreamfields.train.fronts import accuracy, fit_probe, named_fronts
from dreamfields.train.looks import Shape


def shape(name: str, category: str, front_deg: float | None) -> Shape:
    return Shape(f"{name}-{front_deg}.npz", name, (f"a {name}",), (), category, front_deg)


def test_names_whose_front_is_in_doubt_are_left_out() -> None:
    shapes = (
        shape("cat", "animal", 0.0),
        shape("cat", "animal", None),
        shape("worm", "animal", None),
        shape("boat", "vehicle", None),
        shape("table", "furniture", None),
        shape("chair", "furniture", 90.0),
    )
    assert named_fronts(shapes) == {
        "cat": ("a photo of a cat", True),
        "table": ("a photo of a table", False),
        "chair": ("a photo of a chair", True),
    }


def test_a_fit_separates_what_a_plane_separates() -> None:
    draws = torch.Generator().manual_seed(0)
    normal, seen, unseen = (torch.randn(shape, generator=draws) for shape in ((8,), (400, 8), (400, 8)))
    probe = fit_probe(seen, seen @ normal > 0.0)
    assert accuracy(probe, unseen, unseen @ normal > 0.0) > 0.97
    assert accuracy(probe, unseen, unseen @ normal < 0.0) < 0.03
    again = fit_probe(seen, seen @ normal > 0.0)
    assert torch.equal(again.weight, probe.weight)


def test_a_probe_is_read_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = packaged_probe()
    path = tmp_path / "fronts.safetensors"
    path.write_bytes(probe.content())
    monkeypatch.setattr(packaged, "shipped_file", lambda *_: path)
    again = packaged_probe()
    assert torch.equal(again.weight, probe.weight)
    assert torch.equal(again.bias, probe.bias)


def test_a_probe_that_is_not_the_recorded_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "FRONTS_SHA256", "0" * 64)
    with pytest.raises(MissingPackageError, match="not the recorded file"):
        packaged_probe()
