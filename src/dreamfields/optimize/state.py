"""The state of an optimisation: all that decides its next step, and its way to tensors and numbers and back."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol, final

import torch
from torch import Tensor

from dreamfields.errors import CheckpointError
from dreamfields.optimize.collapse import RunningMeans
from dreamfields.optimize.context import StepContext
from dreamfields.optimize.randomness import derive_seed, seeded_generator
from dreamfields.optimize.settings import Recipe
from dreamfields.render.occupancy import occupied_cells
from dreamfields.scene.fields.base import AbstractField
from dreamfields.scene.fields.make import make_field
from dreamfields.scene.origin import density_centre, follow, looked_at

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_MOST = {"step": 10_000_000, "attempt": 100, "skipped": 10_000_000, "rollbacks": 1000}
"""The largest counters that any settings lead to."""
_SINCE_2 = {"skipped": 0, "rollbacks": 0}
"""Counters that checkpoints of format 1 lack, and what they stood at."""
_MISFIT = "the checkpoint does not fit the run's settings; it belongs to another run or version"


class Saved(Protocol):
    """What a state is restored from."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Return every tensor by name."""

    @property
    def counters(self) -> Mapping[str, Any]:
        """Return every number by name."""


@final
class TrainingState:
    """A field, its optimiser, its occupancy and its counters.

    Attributes:
        field: what is shaped.
        optimizer: Adam over the field.
        occupancy: bool (k, k, k), where the field was occupied at the last look.
        origin: (3,) the tracked centre of the density, in scene units; zeros where cameras do not follow it.
        attempt: 0 for the first; each restart adds 1 and derives a new seed.
        watch: running means that tell a collapse.
        skipped: updates left out in a row, as they were not finite; 0 while all is well.
        rollbacks: times this attempt went back to an earlier state; each halves the learning rate and changes draws.
    """

    field: AbstractField
    optimizer: torch.optim.Optimizer
    origin: Tensor

    def __init__(self, recipe: Recipe, seed: int, device: torch.device) -> None:
        """Make the state before the first step of the first attempt."""
        self.recipe = recipe
        self.seed = seed
        self.device = device
        self.attempt = 0
        self.rollbacks = 0
        self._begin()

    def restart(self) -> None:
        """Begin the next attempt from nothing, with a seed of its own."""
        self.attempt += 1
        self.rollbacks = 0
        self._begin()

    def roll_back(self, saved: "Saved | None") -> None:
        """Go back to a good state of this attempt, or to its beginning, with other draws and smaller steps from there.

        Raises:
            CheckpointError: what was saved does not fit the recipe.
        """
        rollbacks = self.rollbacks + 1
        if saved is None or saved.counters.get("attempt") != self.attempt:
            self.rollbacks = rollbacks
            self._begin()
        else:
            self.restore(saved.tensors, saved.counters)
            self.rollbacks, self.skipped = rollbacks, 0

    @property
    def step(self) -> int:
        """Return the steps done in this attempt; the field keeps them, as what it is may depend on them."""
        return self.field.step

    @step.setter
    def step(self, value: int) -> None:
        self.field.step = value

    @property
    def attempt_seed(self) -> int:
        """Return the seed of this attempt's draws, others after each rollback."""
        seed = derive_seed(self.seed, "attempt", self.attempt)
        return derive_seed(seed, "rollback", self.rollbacks) if self.rollbacks else seed

    @property
    def context(self) -> StepContext:
        """Return the context of the next step."""
        return StepContext(self.recipe, self.attempt_seed, self.step)

    def most_bytes(self) -> int:
        """Return more bytes than the state takes when saved: each parameter, two moments of it, and names."""
        values: int = sum(one.numel() * one.element_size() for one in self.field.state_dict().values())
        return 3 * values + self.occupancy.numel() + 1_000_000

    @property
    def tracks(self) -> bool:
        """Tell whether the centre of the density is tracked."""
        return self.recipe.cameras.track != "off"

    @property
    def target(self) -> tuple[float, float, float]:
        """Return the point that this step's cameras look at, and those of held-out views."""
        return looked_at(self.origin, self.recipe.cameras, self.step / self.recipe.optimize.steps)

    def track(self) -> None:
        """Take the present centre of the density into the tracked one, if it is tracked."""
        if self.tracks:
            centre = density_centre(self.field)
            self.origin = follow(self.origin, centre, self.recipe.cameras.track_memory)

    @property
    def sampled_cells(self) -> Tensor | None:
        """Return the occupancy, if samples keep to it."""
        return self.occupancy if self.recipe.render.bounds else None

    def update_occupancy(self) -> None:
        """Bring the occupancy up to date with the field."""
        render = self.recipe.render
        self.occupancy = occupied_cells(self.field, render.occupancy_cells, render.occupancy_threshold)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name, on the CPU, in a fixed order."""
        named: dict[str, Tensor] = {"occupancy": self.occupancy}
        if self.tracks:
            named["origin"] = self.origin
        named.update({f"field.{name}": tensor for name, tensor in self.field.state_dict().items()})
        for name, parameter in self.field.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            named.update({f"adam.{moment}.{name}": moments[moment] for moment in _MOMENTS if moment in moments})
        return {name: named[name].to("cpu").contiguous() for name in sorted(named)}

    def counters(self) -> dict[str, Any]:
        """Return every number of the state as JSON values."""
        return {
            "step": self.step,
            "attempt": self.attempt,
            "watch": dataclasses.asdict(self.running_means),
            "skipped": self.skipped,
            "rollbacks": self.rollbacks,
        }

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Take over a saved state.

        Raises:
            CheckpointError: names, shapes, types or counters are not exactly those of this recipe.
        """
        numbers = check_counters(counters)
        self.attempt, self.rollbacks = numbers["attempt"], numbers["rollbacks"]
        self._begin()
        self.step, self.skipped = numbers["step"], numbers["skipped"]
        self.running_means = RunningMeans(**counters["watch"])
        if self.step > 0:
            self._make_moments()
        expected = self.tensors()
        if {name: (t.shape, t.dtype) for name, t in expected.items()} != {
            n: (t.shape, t.dtype) for n, t in tensors.items()
        }:
            raise CheckpointError(_MISFIT)
        self.occupancy = tensors["occupancy"].to(self.device)
        self.origin = tensors.get("origin", self.origin)
        with torch.no_grad():
            for name, tensor in self.field.state_dict().items():
                tensor.copy_(tensors[f"field.{name}"])
            for name, parameter in self.field.named_parameters():
                moments = self.optimizer.state.get(parameter, {})
                for moment in moments:
                    moments[moment].copy_(tensors[f"adam.{moment}.{name}"])

    def _begin(self) -> None:
        settings = self.recipe.optimize
        self.running_means = RunningMeans()
        self.skipped = 0
        self.origin = torch.zeros(3, dtype=torch.float64)
        weights = seeded_generator(self.attempt_seed, "field")
        self.field = make_field(self.recipe.field, self.recipe.voxels, self.recipe.mlp, weights).to(self.device)
        self.field.bounded = self.recipe.render.bounds
        self.optimizer = torch.optim.Adam(
            self.field.parameters(),
            lr=settings.learning_rate,
            betas=settings.adam_betas,
            eps=settings.adam_eps,
            fused=True,  # One pass over memory instead of ten.
        )
        self.update_occupancy()

    def _make_moments(self) -> None:
        """Give Adam zero moments of the right shapes, as it does itself before its first step."""
        for parameter in self.field.parameters():
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def check_counters(counters: Mapping[str, Any]) -> dict[str, int]:
    """Return a state's whole numbers.

    Raises:
        CheckpointError: a number is missing, unknown, of the wrong kind or beyond what any settings lead to.
    """
    numbers = _SINCE_2 | {name: value for name, value in counters.items() if name != "watch"}
    running_means = counters.get("watch")
    if numbers.keys() != _MOST.keys() or not isinstance(running_means, Mapping):
        raise CheckpointError(_MISFIT)
    if any(type(value) is not int or not 0 <= value <= _MOST[name] for name, value in numbers.items()):
        raise CheckpointError(f"the checkpoint's counters are out of range: {numbers}; it was not made by this program")
    means = {name: type(value) for name, value in dataclasses.asdict(RunningMeans()).items()}
    if running_means.keys() != means.keys() or any(
        type(value) is not means[name] or not math.isfinite(value) for name, value in running_means.items()
    ):
        raise CheckpointError("the checkpoint's running means are not numbers; it was not made by this program")
    return numbers
