"""What is not finite never reaches the field or the disk: skipped, gone back from, and given up with the best kept."""

import ast
import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamfields import api
from dreamfields.cli.main import main
from dreamfields.guidance.base import Guide
from dreamfields.optimize import loop
from dreamfields.optimize.loop import ROLLBACKS, SKIPS
from dreamfields.runs.checkpoint import load_checkpoint, manifests
from tests.support.nonfinite import NonFiniteGuidance, Where
from tests.support.toys import TINY, advance, fingerprint, new_state, tiny_config, with_steps

WHERE: tuple[Where, ...] = ("score", "gradient", "one element")
LAST = TINY.optimize.steps - 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("at", [0, 1, 6, LAST])
def test_one_odd_number_costs_one_step_and_leaves_no_trace(at: int, where: Where, value: float) -> None:
    state = new_state()
    before = fingerprint(state)
    steps = []
    for index in range(LAST + 1):
        steps += advance(state, 1, guidance=NonFiniteGuidance({0} if index == at else (), where, value))
        after = fingerprint(state)
        moved = [name for name in after if name.startswith(("field", "adam")) and after[name] != before.get(name)]
        assert bool(moved) == (index != at)
        before = after
    assert [step.index for step in steps if step.skipped] == [at + 1]
    assert "the loss" in str(steps[at].skipped) or "the gradient of grids." in str(steps[at].skipped)
    assert [step.index for step in steps] == list(range(1, LAST + 2))
    assert (state.skipped, state.rollbacks) == (int(at == LAST), 0)
    assert all(bool(torch.isfinite(one).all()) for one in state.tensors().values() if one.is_floating_point())
    assert all(math.isfinite(value) for value in state.counters()["watch"].values())


def test_a_run_with_one_odd_number_ends_as_well_as_one_without() -> None:
    means = []
    for at in ((), {40}):
        steps = advance(new_state(with_steps(80)), 80, guidance=NonFiniteGuidance(at))
        means.append(sum(step.loss for step in steps[-20:]) / 20)
    assert means[1] == pytest.approx(means[0], rel=0.05)


def test_nothing_is_clipped_before_it_is_known_to_be_finite() -> None:
    """Clipping divides by the norm of all gradients: one NaN among them becomes NaN everywhere."""
    tree = ast.parse(Path(loop.__file__).read_text(encoding="utf-8"))
    (descend,) = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "_descend")
    lines: dict[str, int] = {}
    for node in ast.walk(descend):
        if isinstance(node, ast.Call):
            lines.setdefault(ast.unparse(node.func), node.lineno)
    assert lines["first_nonfinite"] < lines["state.optimizer.step"]
    assert all(line > lines["first_nonfinite"] for name, line in lines.items() if "clip" in name)


def test_a_row_of_them_goes_back_with_other_draws_and_half_the_step() -> None:
    state = new_state(with_steps(40))
    seed = state.attempt_seed
    advance(state, 1)
    rate = state.optimizer.rate
    steps = advance(state, SKIPS, guidance=NonFiniteGuidance(range(SKIPS)))
    assert [step.rolled_back for step in steps] == [False] * (SKIPS - 1) + [True]
    assert (state.step, state.skipped, state.rollbacks) == (0, 0, 1)  # Nothing was kept: back to the beginning.
    assert state.attempt_seed != seed
    advance(state, 1)
    assert state.optimizer.rate == pytest.approx(rate / 2)


def with_guidance(monkeypatch: pytest.MonkeyPatch, *odd_at: int) -> None:
    """Let runs be guided by what is odd at some looks, counted over the whole of a process."""
    guidance = NonFiniteGuidance(set(odd_at))
    monkeypatch.setattr("dreamfields.runs.guides.load_guides", lambda *_: [Guide(guidance)])


def metrics_of(run: api.Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.directory.metrics.read_text().splitlines()]


def test_a_run_goes_back_to_its_last_good_checkpoint_and_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_guidance(monkeypatch, *range(12, 12 + SKIPS))
    run = api.start(tiny_config(with_steps(30)), tmp_path)
    steps = list(run.steps())
    assert [step.index for step in steps if step.rolled_back] == [12 + SKIPS]
    assert steps[12 + SKIPS].index == 11  # From the checkpoint of step 10 on.
    assert (run.status, run.load_state().step, run.load_state().rollbacks) == ("optimized", 30, 1)
    assert [line["index"] for line in metrics_of(run)] == list(range(1, 31))
    said = [note for note in run.notes if "went back to step 10 with half the learning rate" in note]
    assert len(said) == 1
    assert any("is not finite at step 13; such steps are skipped" in note for note in run.notes)


def test_a_stop_amid_a_row_of_them_resumes_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for stop in (None, 16):
        with_guidance(monkeypatch, *range(12, 12 + SKIPS))
        run = api.start(tiny_config(with_steps(30)), tmp_path / str(stop))
        if stop is not None:
            iterator = run.steps()
            for _ in range(stop):
                next(iterator)
            iterator.close()
            assert load_checkpoint(manifests(run.directory.checkpoints)[0]).counters["skipped"] == stop - 12
        for _ in run.steps():
            pass
        ends.append(fingerprint(run.load_state()))
    assert ends[0] == ends[1]


def test_it_is_given_up_with_exit_6_after_three_and_the_best_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_guidance(monkeypatch, *range(12, 1000))
    run = api.start(tiny_config(with_steps(200)), tmp_path)
    assert main(["resume", str(run.path)]) == 6
    (sentence,) = capsys.readouterr().err.splitlines()
    for part in ("is not finite 10 steps in a row", "after 3 returns", "--optimize.learning-rate"):
        assert part in sentence
    again = api.load(run.path)
    assert (again.status, again.load_state().step, again.load_state().rollbacks) == ("interrupted", 10, ROLLBACKS)
    for path in manifests(run.directory.checkpoints):
        load_checkpoint(path)  # Which refuses what is not finite.
    assert again.export(tmp_path / "kept.glb").stat().st_size > 1000
    assert [line["index"] for line in metrics_of(run)][:10] == list(range(1, 11))
    assert all(math.isfinite(line["loss"]) for line in itertools.islice(metrics_of(run), 10))


def test_a_field_that_is_no_longer_finite_is_not_saved_over_a_good_one(tmp_path: Path) -> None:
    run = api.start(tiny_config(with_steps(30)), tmp_path)
    steps = run.steps()
    for step in steps:
        if step.index == 14 and run.load_state().rollbacks == 0:
            with torch.no_grad():
                next(iter(run.load_state().field.parameters())).fill_(math.nan)
    assert (run.status, run.load_state().step, run.load_state().rollbacks) == ("optimized", 30, 1)
    tensors = run.load_state().tensors().values()
    assert all(bool(torch.isfinite(one).all()) for one in tensors if one.is_floating_point())
