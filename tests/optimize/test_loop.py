"""The loop: a resumed run equals an uninterrupted one, only recipe and seed count, and the object gets its colour."""

import itertools
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamfields.guidance.base import AbstractGuidance
from dreamfields.optimize.collapse import Verdict
from dreamfields.optimize.loop import SKIPS, Step, optimize
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.optimize.settings import CollapseSettings, Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.render.renderer import render_still
from dreamfields.scene.cameras import Camera
from tests.support.nonfinite import NonFiniteGuidance
from tests.support.toys import TINY, TINY_MLP, advance, fingerprint, new_state, targets_of, with_steps

HALF = 6
"""Steps until a run is stopped: between two updates of the occupancy, so that an old one still counts."""
Saved = tuple[dict[str, Tensor], dict[str, Any]]


@pytest.fixture(scope="module", params=[TINY, TINY_MLP], ids=["voxels", "mlp"])
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """A recipe of each field."""
    chosen: Recipe = request.param
    return chosen


@pytest.fixture(scope="module")
def whole(recipe: Recipe) -> dict[str, str]:
    """The end of a run that was never stopped."""
    state = new_state(recipe)
    advance(state, 2 * HALF)
    assert state.step == 2 * HALF == recipe.optimize.steps
    return fingerprint(state)


@pytest.fixture(scope="module")
def half_way(recipe: Recipe) -> Saved:
    """The tensors and counters of the same run half-way."""
    state = new_state(recipe)
    advance(state, HALF)
    return state.tensors(), state.counters()


@pytest.fixture
def half(half_way: Saved) -> Saved:
    """A copy of these for each test."""
    tensors, counters = half_way
    return {name: tensor.clone() for name, tensor in tensors.items()}, deepcopy(counters)


def gone_on(saved: Saved, recipe: Recipe, guidance: AbstractGuidance | None = None) -> dict[str, str]:
    """Restore into a fresh state, go on to the end, and return where it led."""
    state = new_state(recipe)
    state.restore(*saved)
    advance(state, HALF, guidance=guidance)
    return fingerprint(state)


def test_a_run_that_was_stopped_ends_bit_for_bit_where_the_other_does(
    recipe: Recipe, half: Saved, whole: dict[str, str]
) -> None:
    assert gone_on(half, recipe) == whole


def test_it_does_so_from_every_step(recipe: Recipe, whole: dict[str, str]) -> None:
    state = new_state(recipe)
    for _ in range(2 * HALF):
        saved = state.tensors(), state.counters()
        state = new_state(recipe)
        state.restore(*saved)
        advance(state, 1)
    assert fingerprint(state) == whole


MOMENTS = ("adam.exp_avg", "adam.exp_avg_sq", "adam.step")
GRIDS = ("grids.0", "grids.1")
LINEAR = ("early", "blocks.0.widen", "blocks.0.narrow", "late", "head")
LAYERS = tuple(f"{layer}.{kind}" for layer in (*LINEAR, "blocks.0.norm") for kind in ("weight", "bias"))
COUNTERS = ("watch", "step", "attempt", "skipped", "rollbacks")
OF_VOXELS = ("occupancy", *(f"{name}.{grid}" for name in (*MOMENTS, "field") for grid in GRIDS))
OF_MLP = (
    "occupancy",
    "field.frequencies",
    *(f"{name}.{layer}" for name in (*MOMENTS, "field") for layer in LAYERS),
)


@pytest.mark.parametrize(
    ("recipe", "part"),
    [
        *(pytest.param(TINY, part, id=f"voxels-{part}") for part in (*OF_VOXELS, *COUNTERS)),
        *(pytest.param(TINY_MLP, part, id=f"mlp-{part}") for part in (*OF_MLP, *COUNTERS) if part != "occupancy"),
    ],
    indirect=["recipe"],
)
def test_dropping_any_part_of_the_state_leads_elsewhere(
    recipe: Recipe, half: Saved, whole: dict[str, str], part: str
) -> None:
    tensors, counters = half
    match part:
        case "watch":
            counters["watch"] = new_state().counters()["watch"]
        case "step" | "attempt" | "rollbacks":
            counters[part] += 1
        case "skipped":
            # Without it, a row of skipped steps that reached across the stop would begin anew.
            led = gone_on((tensors, counters | {"skipped": SKIPS - 1}), recipe, NonFiniteGuidance({0}))
            assert led != gone_on(half, recipe, NonFiniteGuidance({0}))
            return
        case "occupancy":
            assert not tensors[part].all()
            tensors[part] = torch.ones_like(tensors[part])
        case _:
            assert float(tensors[part].abs().sum()) > 0.0
            tensors[part] = torch.zeros_like(tensors[part])
    assert gone_on((tensors, counters), recipe) != whole


def test_the_parts_above_are_all_there_are(recipe: Recipe, half: Saved) -> None:
    tensors, counters = half
    assert tensors.keys() == set(OF_VOXELS if recipe is TINY else OF_MLP)
    assert counters.keys() == set(COUNTERS)


def test_the_same_seed_ends_in_the_same_bytes_and_another_does_not(recipe: Recipe, whole: dict[str, str]) -> None:
    again, other = new_state(recipe), new_state(recipe, seed=1)
    for state in (again, other):
        advance(state, 2 * HALF)
    assert fingerprint(again) == whole
    name = "field.grids.1" if recipe is TINY else "field.head.weight"
    assert fingerprint(other)[name] != whole[name]


def test_a_network_starts_from_the_seed_of_its_attempt() -> None:
    state = new_state(TINY_MLP)
    starts = [state.tensors()["field.head.weight"]]
    state.restart()
    starts += [one.tensors()["field.head.weight"] for one in (state, new_state(TINY_MLP, seed=1), new_state(TINY_MLP))]
    assert torch.equal(starts[0], starts[3])
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(starts[:3], 2))


def test_the_field_knows_the_step_whatever_happens(recipe: Recipe) -> None:
    state = new_state(recipe)
    assert state.field.step == state.step == 0
    seen = []
    for step in optimize(state, targets_of(recipe)):
        seen.append((step.index, state.step, state.field.step))
    assert seen == [(index, index, index) for index in range(1, recipe.optimize.steps + 1)]
    resumed = new_state(recipe)
    resumed.restore(state.tensors(), state.counters())
    assert resumed.field.step == recipe.optimize.steps
    state.restart()
    assert state.field.step == state.step == 0


def test_previews_and_other_draws_never_change_a_run(recipe: Recipe, whole: dict[str, str]) -> None:
    state = new_state(recipe)
    for index, _ in enumerate(optimize(state, targets_of(recipe))):
        torch.manual_seed(index)
        torch.rand(7)
        render_still(state.field, Camera(40.0 * index, 20.0), 8, 8, occupancy=state.occupancy)
        state.tensors()
    assert fingerprint(state) == whole


def test_every_draw_has_a_stream_of_its_own_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, str, int]] = []

    def recorded(seed: int, stream: str, index: int = 0) -> torch.Generator:
        drawn.append((seed, stream, index))
        return seeded_generator(seed, stream, index)

    monkeypatch.setattr("dreamfields.optimize.randomness.seeded_generator", recorded)
    state = new_state()
    advance(state, 3)
    streams = ("cameras", "shown in plaster", "samples", "guide 0")
    assert sorted(drawn) == sorted((state.attempt_seed, stream, index) for index in range(3) for stream in streams)


def test_steps_count_up_and_report_their_measures() -> None:
    state = new_state()
    steps = advance(state, 100)
    assert [step.index for step in steps] == list(range(1, TINY.optimize.steps + 1))
    assert {(step.total, step.attempt, step.collapsed) for step in steps} == {(TINY.optimize.steps, 0, None)}
    for step in steps:
        assert -1.0 <= step.score <= 1.0
        assert 0.0 <= step.opacity <= 1.0
        assert 0.0 <= step.fog <= 1.0
        assert step.seconds > 0.0
    assert not advance(state, 1)


def test_occupancy_is_updated_on_its_steps_only() -> None:
    state = new_state()
    seen = [state.occupancy]
    for _ in optimize(state, targets_of()):
        seen.append(state.occupancy)
    renewed = [index for index, (before, after) in enumerate(itertools.pairwise(seen)) if before is not after]
    assert renewed == list(range(0, TINY.optimize.steps, TINY.render.occupancy_every))


def test_the_learning_rate_is_that_of_the_schedule() -> None:
    state = new_state()
    rates = []
    for _ in optimize(state, targets_of()):
        rates.append(state.optimizer.rate)
    settings = TINY.optimize
    assert rates[0] == settings.learning_rate
    assert all(later < earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] > settings.final_learning_rate * settings.learning_rate  # The last step is not the end yet.


def fails_at_once(**settings: float) -> Recipe:
    """A recipe by whose settings every attempt collapses at its second step."""
    plain = CollapseSettings(
        restarts=2, look_from=0.0, stuck_at=0.0, stuck_gain=-2.0, empty_below=0.0, full_above=1.0, memory=0.9, warm_up=1
    )
    return replace(with_steps(5), collapse=replace(plain, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"full_above": 0.0}, Verdict.FULL),
        ({"empty_below": 1.0}, Verdict.EMPTY),
        ({"stuck_gain": 2.0}, Verdict.STUCK),
    ],
)
def test_a_collapse_is_reported_and_restarts_as_often_as_allowed(settings: dict[str, float], verdict: Verdict) -> None:
    state = new_state(fails_at_once(**settings))
    steps = advance(state, 100)
    lost = [(attempt, *one) for attempt in (0, 1) for one in [(1, None), (2, verdict)]]
    expected = [*lost, *((2, index, None) for index in range(1, 6))]
    assert [(step.attempt, step.index, step.collapsed) for step in steps] == expected
    assert (state.attempt, state.step) == (2, 5)


def test_a_run_stopped_at_a_collapse_is_in_its_next_attempt_with_a_seed_of_its_own() -> None:
    state = new_state(fails_at_once(full_above=0.0))
    first = state.attempt_seed
    advance(state, 2)
    fresh = fingerprint(new_state(state.recipe))
    assert fingerprint(state) == fresh | {"attempt": "1"}
    assert state.attempt_seed != first
    resumed = new_state(state.recipe)
    resumed.restore(state.tensors(), state.counters())
    for one in (state, resumed):
        advance(one, 100)
    assert fingerprint(state) == fingerprint(resumed)


def test_attempts_draw_differently() -> None:
    state = new_state(fails_at_once(full_above=0.0))
    steps = advance(state, 100)
    firsts = [step.score for step in steps if step.index == 1]
    assert len(set(firsts)) == 3


def test_without_restarts_a_lost_attempt_goes_on_to_its_end() -> None:
    steps = advance(new_state(fails_at_once(full_above=0.0, restarts=0)), 100)
    assert [(step.attempt, step.index, step.collapsed) for step in steps] == [(0, index, None) for index in range(1, 6)]


def mean_colour(state: TrainingState) -> tuple[float, float, float]:
    """Return the mean colour of the object from the front."""
    rendering = render_still(state.field, Camera(0.0, 20.0), 24, 24)
    red, green, blue = (rendering.colour.sum(dim=(0, 2, 3)) / rendering.opacity.sum()).tolist()
    return red, green, blue


def averaged(steps: Sequence[Step]) -> float:
    return sum(step.score for step in steps) / len(steps)


@pytest.mark.parametrize(("prompt", "channel"), [("a red ball", 0), ("a green ball", 1), ("a blue ball", 2)])
def test_a_coloured_ball_becomes_a_ball_of_its_colour(prompt: str, channel: int) -> None:
    state = new_state(with_steps(30))
    assert mean_colour(state) == pytest.approx((0.5, 0.5, 0.5), abs=0.01)
    steps = advance(state, 30, prompt)
    colour = mean_colour(state)
    others = [value for index, value in enumerate(colour) if index != channel]
    assert max(others) < 0.4 < 0.55 < colour[channel]
    assert averaged(steps[-5:]) > averaged(steps[:5]) + 0.2
    assert 0.02 < steps[-1].opacity < 0.9


def test_a_network_learns_a_colour_too() -> None:
    state = new_state(with_steps(60, TINY_MLP))
    steps = advance(state, 60)
    red, green, blue = mean_colour(state)
    assert max(green, blue) < 0.4 < 0.55 < red
    assert averaged(steps[-5:]) > averaged(steps[:5]) + 0.1
    assert 0.02 < steps[-1].opacity < 0.9


def test_the_transmittance_term_makes_room() -> None:
    opacities = []
    for weight in (0.0, 5.0):
        recipe = replace(TINY, losses=replace(TINY.losses, guidance=0.0, transmittance=weight))
        opacities.append(advance(new_state(with_steps(20, recipe)), 20)[-1].opacity)
    assert opacities[1] < opacities[0] - 0.05
    assert opacities[1] > 0.1  # Not much emptier than the target.
