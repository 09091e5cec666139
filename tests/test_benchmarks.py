"""Benchmarks that need a machine of their own are driven here at a tiny size, so that they run when they are needed."""

import importlib.util
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from dreamfields import paper
from dreamfields.api import Run
from tests.architecture import ROOT
from tests.toys import TINY_EXPORT


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


def test_the_rows_of_the_ablation_lead_from_nerf_to_the_paper_s_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    ablation = load("ablation", monkeypatch)
    whole = ablation.whole_recipe("paper", None)
    assert whole == paper.MQ
    rows = ablation.recipes(whole)
    assert len(rows) == 9 + 6
    first = rows["simplified NeRF"]
    assert (first.field, first.mlp.encoding, first.mlp.directions) == ("nerf", "plain", "axes")
    assert (first.render.bounds, first.cameras.track, first.backgrounds.black) == (False, "off", 1.0)
    assert rows["+ tracked origin"] == rows["clipped additive transmittance"] == whole
    steps = list(rows.values())[:9]
    for above, below in itertools.pairwise(steps):
        # One part at a time.
        changed = [name for name, value in vars(below).items() if value != getattr(above, name)]
        assert len(changed) == 1, changed
    for row in ("gated transmittance", "beta prior", "density noise", "no regularizer"):
        assert rows[row].losses != whole.losses
        assert replace(rows[row], losses=whole.losses) == whole


def test_the_ablation_runs_from_end_to_end_and_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ablation = load("ablation", monkeypatch)
    judged: list[Path] = []

    def judge(run: Run) -> dict[str, float]:
        judged.append(run.path)
        return {"score": 0.5, "probability": 0.25}

    monkeypatch.setattr(ablation, "judge_of", lambda size: judge)
    monkeypatch.setattr(ablation, "SMALL_SHEETS", TINY_EXPORT)
    command = ["ablation.py", "--size", "tiny", "--steps", "1", "--device", "cpu", "--threads", "1"]
    command += ["--rows", "simplified NeRF", "density noise", "--subjects", "a red ball"]
    command += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    ablation.main()
    assert len(judged) == 2
    table = (tmp_path / "out" / "ablation_tiny.md").read_text()
    assert "| simplified NeRF | 31.4 ± 2.7 | 50.0 ± 50.0 | 0.250 | 1 |" in table
    assert "| + scene bounds | 65.4 ± 2.7 | not made |" in table
    ablation.main()
    assert len(judged) == 2
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["ablation.py", "--size", "tiny", "--rows", "nothing"])
    with pytest.raises(SystemExit, match="no row called 'nothing'; rows: simplified NeRF"):
        ablation.main()
