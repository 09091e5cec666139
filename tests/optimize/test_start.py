"""What a field begins as, and the pull towards it."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch

from dreamfields.errors import CheckpointError
from dreamfields.optimize.loop import optimize
from dreamfields.optimize.losses import TermInputs, weighted_terms
from dreamfields.optimize.settings import InitSettings, Recipe
from dreamfields.optimize.start import Start, greyed
from dreamfields.optimize.state import TrainingState
from dreamfields.scene.coarse import CoarseObject
from dreamfields.scene.settings import MlpSettings
from tests.support.toys import CPU, TINY, TINY_MLP, targets_of

INIT = InitSettings(source="prior", weight=0.5, until=0.5, extent=0.75, colour=0.5)
RECIPE = replace(TINY, init=INIT)


def slab() -> Start:
    """Return a start that is a green slab, solid above the middle."""
    occupancy = torch.zeros(9, 9, 9)
    occupancy[:, 5:] = 1.0
    return Start(CoarseObject(occupancy, torch.tensor([0.1, 0.8, 0.2]).expand(9, 9, 9, 3)))


def begun(recipe: Recipe = RECIPE) -> TrainingState:
    """Return a state whose field is the slab."""
    state = TrainingState(recipe, 0, CPU)
    state.begin_from(slab())
    return state


def test_a_field_begins_as_its_start_and_a_restart_as_a_blob() -> None:
    state = begun()
    volume = state.field.density_volume(8)
    assert volume[4, 6, 4] > 10.0 * volume[4, 2, 4]
    assert state.occupancy.any()
    blob = TrainingState(RECIPE, 0, CPU).field.density_volume(8)
    state.restart()
    assert torch.equal(state.field.density_volume(8), blob)
    assert state.begun(0.0) is None


def test_the_pull_is_none_without_a_start_and_falls_to_nothing_by_its_end() -> None:
    assert TrainingState(RECIPE, 0, CPU).begun(0.0) is None
    empty = replace(RECIPE, voxels=replace(RECIPE.voxels, blob_offset=-20.0))
    state = TrainingState(empty, 0, CPU)
    state.start = slab()
    steps = (state.begun(progress) for progress in (0.0, 0.25, 0.5, 0.9))
    values = [float(begun.pull.detach()) for begun in steps if begun is not None]
    assert values == pytest.approx([0.5, 0.25, 0.0, 0.0], abs=1e-3)


def test_the_pull_asks_for_density_inside_alone() -> None:
    state = begun(replace(RECIPE, init=replace(INIT, until=1.0)))
    with torch.no_grad():
        for grid in state.field.parameters():
            grid.zero_()
    begun_step = state.begun(0.0)
    assert begun_step is not None
    begun_step.pull.backward()
    finest = list(state.field.parameters())[-1].grad
    assert finest is not None
    density = finest[..., 0]  # [z, y, x]
    assert density[:, 3].sum() < -0.01  # Nodes at y = 0.5, of four cells a side
    assert density[:, 0].abs().max() == 0.0
    assert not finest[..., 1:].any()


def test_colours_begin_between_grey_and_the_priors() -> None:
    colours = torch.tensor([0.1, 0.9, 0.5])
    assert torch.equal(greyed(colours, replace(INIT, colour=0.0)), torch.full((3,), 0.5))
    assert torch.allclose(greyed(colours, replace(INIT, colour=1.0)), colours)
    assert torch.allclose(greyed(colours, INIT), torch.tensor([0.3, 0.7, 0.5]))


def test_what_began_as_an_object_needs_no_opaque_beginning() -> None:
    state = begun()
    step = next(iter(optimize(state, targets_of(RECIPE))))
    assert step.index == 1
    opaque = torch.full((1, 1, 4, 4), 0.5)
    inputs = TermInputs(RECIPE.losses, 0.0, _Views(opaque), torch.zeros(()))  # type: ignore[arg-type]
    assert weighted_terms(inputs)["transmittance"] == pytest.approx(-0.5 * 0.4)
    assert weighted_terms(replace(inputs, transmittance=0.9))["transmittance"] == pytest.approx(-0.5 * 0.5)


def test_the_target_leaves_room_for_the_object() -> None:
    seen_from_above = 9 * 9 / 81
    from_the_sides = 9 * 4 / 81
    half_side = 4.0 * math.tan(math.radians(16.0))
    covered = (seen_from_above + 2 * from_the_sides) / 3 * (0.75 / half_side) ** 2
    assert slab().transmittance(RECIPE) == pytest.approx(max(1.0 - 1.3 * covered, 0.8))
    thin = Start(CoarseObject(torch.zeros(9, 9, 9), torch.zeros(9, 9, 9, 3)))
    assert thin.transmittance(RECIPE) == 1.0
    full = Start(CoarseObject(torch.ones(9, 9, 9), torch.zeros(9, 9, 9, 3)))
    assert full.transmittance(RECIPE) == RECIPE.losses.transmittance_end


class _Views:
    """A rendering of which only the opacity is asked."""

    def __init__(self, opacity: torch.Tensor) -> None:
        self.opacity = opacity


def test_a_saved_state_holds_its_start() -> None:
    state = begun()
    steps = optimize(state, targets_of(RECIPE))
    for _ in range(3):
        next(steps)
    tensors, counters = state.tensors(), state.counters()
    other = TrainingState(RECIPE, 0, CPU)
    other.restore(tensors, counters)
    assert other.start is not None
    assert torch.equal(other.start.coarse.occupancy, slab().coarse.occupancy)
    rest, again = list(steps), list(optimize(other, targets_of(RECIPE)))
    assert [step.loss for step in again] == [step.loss for step in rest]
    assert all(torch.equal(one, other.tensors()[name]) for name, one in state.tensors().items())
    # A state from before there were starts has none, whatever the state that takes it over began as.
    plain = TrainingState(RECIPE, 0, CPU)
    state.restore(plain.tensors(), plain.counters())
    assert state.start is None


@pytest.mark.parametrize("name", ["start.occupancy", "start.colours"])
def test_half_a_start_or_one_of_another_shape_is_refused(name: str) -> None:
    state = begun()
    tensors, counters = state.tensors(), state.counters()
    for broken in ({k: v for k, v in tensors.items() if k != name}, {**tensors, name: tensors[name][:-1]}):
        with pytest.raises(CheckpointError, match="does not fit"):
            TrainingState(RECIPE, 0, CPU).restore(broken, counters)


@pytest.mark.parametrize("name", ["mlp", "nerf"])
def test_a_network_begins_as_its_start_and_the_same_twice(name: Literal["mlp", "nerf"]) -> None:
    recipe = replace(TINY_MLP, field=name, init=INIT, mlp=MlpSettings(width=32, hidden=64, frequencies=32, blocks=2))
    state, other = begun(recipe), begun(recipe)
    volume = state.field.density_volume(8)
    assert volume[2:7, 6, 2:7].mean() > 10.0 * volume[2:7, 2, 2:7].mean()
    assert all(torch.equal(one, other.tensors()[key]) for key, one in state.tensors().items())
    restored = TrainingState(recipe, 0, CPU)
    restored.restore(state.tensors(), state.counters())
    assert all(torch.equal(one, restored.tensors()[key]) for key, one in state.tensors().items())


def test_the_prior_is_asked_where_it_can_help() -> None:
    assert Recipe().looks_up
    assert not replace(Recipe(), init=InitSettings(source="none")).looks_up
    assert not TINY.looks_up  # The toy sees colours alone.
    assert RECIPE.looks_up
