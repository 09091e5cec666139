"""Benchmarks that need a machine of their own are driven here at a tiny size, so that they run when they are needed."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture import ROOT


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a benchmark as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


def test_the_gpu_benchmark_times_every_recipe_and_says_what_a_run_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = load("gpu", monkeypatch)
    # `generate` itself is tested as a command elsewhere.
    monkeypatch.setattr(gpu, "quick", lambda tiny, device: (12.5, 10.0))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--steps", "3", "--warm-up", "1", "--out", str(tmp_path)])
    gpu.main()
    (table,), (figures,) = tmp_path.glob("*.md"), tmp_path.glob("*.json")
    assert table.read_text() == capsys.readouterr().out
    rows = json.loads(figures.read_text())
    assert len(rows) == 4
    for row in rows:
        assert len(row["seconds"]) == 3
        assert min(row["seconds"]) > 0.0
        assert row["name"] in table.read_text()
    assert rows[0]["occupied"] == 1.0  # The paper samples everything.
    assert "12.5 s, of which 10.0 s" in table.read_text()


def test_the_gpu_benchmark_times_the_paper_s_recipe_compiled_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    exact, skipping, *_ = gpu.recipes(tiny=False).values()
    for recipe in (exact, skipping):
        assert (recipe.render.size, recipe.augment.crop, recipe.render.samples) == (168, 154, 192)
        assert (recipe.optimize.backgrounds, recipe.mlp.precision, recipe.mlp.compiled) == (64, "bf16", True)
    assert exact.render.occupancy_threshold == 0.0 < skipping.render.occupancy_threshold
    row = gpu.Row("x", (0.3, 0.5), 0.1, 0.1, 1.0, 0.5, 1.0, "")
    assert row.ten_thousand == pytest.approx(0.4 * 10_000 / 3600)


def test_without_a_gpu_the_benchmark_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    with pytest.raises(SystemExit, match=r"there is no CUDA device here.*--tiny"):
        gpu.main()
