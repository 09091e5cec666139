"""The state of an optimisation: all that determines its next step, saved and restored as tensors and numbers."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from dreamfields.errors import CheckpointError
from dreamfields.optimize.adam import Adam
from dreamfields.optimize.collapse import RunningMeans
from dreamfields.optimize.randomness import derive_seed, seeded_generator
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.start import Begun, Start
from dreamfields.render.occupancy import occupied_cells
from dreamfields.reprs import one_line, short_repr
from dreamfields.scene.cameras import camera_target, density_centre, follow
from dreamfields.scene.coarse import CoarseObject
from dreamfields.scene.fields import FIELDS
from dreamfields.scene.fields.base import AbstractField

_LARGEST = {"step": 10_000_000, "attempt": 100, "skipped": 10_000_000, "rollbacks": 1000}  # That any settings allow
_SINCE_2 = {"skipped": 0, "rollbacks": 0}  # Counters that checkpoints of format 1 lack, and their values there
_MISFIT = "the checkpoint does not fit the run's settings; it belongs to another run or version"


@dataclass(frozen=True)
class Saved:
    """A saved state: its numbers and tensors by name."""

    counters: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    __repr__ = short_repr


@final
class TrainingState:
    """A field, its optimiser, its occupancy and its counters."""

    field: AbstractField
    optimizer: Adam  # Over the field's parameters
    occupancy: Tensor  # bool (k, k, k), the cells that held density when last updated
    origin: Tensor  # (3,) the tracked centre of the density, in scene units; zeros if it is not tracked
    attempt: int  # 0 for the first; each restart adds 1 and derives a new seed
    rollbacks: int  # Of this attempt; each halves the learning rate and changes the random draws
    skipped: int  # Updates skipped in a row because they were not finite
    running_means: RunningMeans  # Of score and opacity, from which a collapse is diagnosed
    start: Start | None  # What the field of the first attempt began as; None for a blob

    def __init__(self, recipe: Recipe, seed: int, device: torch.device) -> None:
        """Make the state before the first step of the first attempt."""
        self.recipe, self.seed, self.device, self.start = recipe, seed, device, None
        self._begin(attempt=0, rollbacks=0)

    def __repr__(self) -> str:
        """Return the step, the attempt, the kind of field, and where its tensors are."""
        done = [f"step {self.step} of {self.recipe.optimize.steps}", f"attempt {self.attempt}"]
        return one_line("TrainingState", [*done, type(self.field).__name__, f"on {self.device}"])

    def begin_from(self, start: Start) -> None:
        """Begin the first attempt again, with a field that is an object."""
        self.start = start.to(self.device)
        self._begin(attempt=0, rollbacks=0)

    def begun(self, progress: float) -> Begun | None:
        """Return what the start adds to the loss at a fraction of the steps; None if this attempt began as a blob."""
        if self.start is None or self.attempt > 0:
            return None
        pull = self.start.pull(self.field, self.recipe.init, progress)
        return Begun(pull, self.start.transmittance(self.recipe))

    def restart(self) -> None:
        """Begin the next attempt with a new field, a blob, and a new seed."""
        self._begin(self.attempt + 1, rollbacks=0)

    def roll_back(self, saved: Saved | None) -> None:
        """Return to a saved state of this attempt, or to its beginning; draws and learning rate then differ.

        Raises CheckpointError: the saved state does not fit the recipe.
        """
        rollbacks = self.rollbacks + 1
        if saved is None or saved.counters.get("attempt") != self.attempt:
            self._begin(self.attempt, rollbacks)
        else:
            self.restore(saved.tensors, saved.counters)
            self.rollbacks, self.skipped = rollbacks, 0

    @property
    def step(self) -> int:
        """Return the steps done in this attempt; the field holds it, as its encoding may depend on it."""
        return self.field.step

    @step.setter
    def step(self, value: int) -> None:
        self.field.step = value

    @property
    def attempt_seed(self) -> int:
        """Return the seed of this attempt's draws, a new one after each rollback."""
        seed = derive_seed(self.seed, "attempt", self.attempt)
        return derive_seed(seed, "rollback", self.rollbacks) if self.rollbacks else seed

    @property
    def target(self) -> tuple[float, float, float]:
        """Return the point that the cameras of this step and of held-out views look at."""
        return camera_target(self.origin, self.recipe.cameras, self.step / self.recipe.optimize.steps)

    @property
    def sampled_cells(self) -> Tensor | None:
        """Return the occupancy if samples are restricted to it, else None."""
        return self.occupancy if self.recipe.render.bounds else None

    def most_bytes(self) -> int:
        """Return an upper bound of the saved state's bytes: each parameter with two moments, occupancy and names."""
        field_bytes: int = sum(one.nbytes for one in self.field.state_dict().values())
        start_bytes = 1_000_000 if self.recipe.looks_up else 0
        return 3 * field_bytes + self.occupancy.numel() + start_bytes + 1_000_000

    def track(self) -> None:
        """Update the tracked centre of the density, if the recipe tracks it."""
        if self.recipe.cameras.track != "off":
            self.origin = follow(self.origin, density_centre(self.field), self.recipe.cameras.track_memory)

    def update_occupancy(self) -> None:
        """Find the cells in which the field now has density."""
        render = self.recipe.render
        self.occupancy = occupied_cells(self.field, render.occupancy_cells, render.occupancy_threshold)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name, on the CPU, in a fixed order."""
        return {name: tensor.to("cpu").contiguous() for name, tensor in sorted(self._live_tensors().items())}

    def counters(self) -> dict[str, Any]:
        """Return every number of the state as JSON values."""
        return {"watch": dataclasses.asdict(self.running_means), **{name: getattr(self, name) for name in _LARGEST}}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Copy a saved state. Raises CheckpointError: its names, shapes, types or counters do not fit the recipe."""
        numbers = check_counters(counters)
        self.start = None  # Or the field, which is about to be overwritten, would be made from it first
        self._begin(numbers["attempt"], numbers["rollbacks"])
        self.start = _start_of(tensors, self.device)
        self.step, self.skipped = numbers["step"], numbers["skipped"]
        self.running_means = RunningMeans(**counters["watch"])
        for parameter in self.field.parameters() if self.step > 0 else ():  # Adam makes its moments in its first step.
            self.optimizer.begin(parameter)
        expected = self._live_tensors()
        if _layouts(expected) != _layouts(tensors):
            raise CheckpointError(_MISFIT)
        with torch.no_grad():
            for name, tensor in expected.items():
                tensor.copy_(tensors[name])

    def _begin(self, attempt: int, rollbacks: int) -> None:
        settings = self.recipe.optimize
        self.attempt, self.rollbacks, self.skipped = attempt, rollbacks, 0
        self.running_means = RunningMeans()
        self.origin = torch.zeros(3, dtype=torch.float64)
        weights = seeded_generator(self.attempt_seed, "field")
        begun_from = self.start if attempt == 0 else None
        make = begun_from.make_field if begun_from else FIELDS[self.recipe.field].make
        self.field = make(self.recipe, weights).to(self.device)
        self.field.bounded = self.recipe.render.bounds
        rate, betas, epsilon = settings.learning_rate, settings.adam_betas, settings.adam_eps
        self.optimizer = Adam(self.field.parameters(), rate, betas, epsilon)
        self.update_occupancy()

    def _live_tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name, without a copy."""
        named = {"occupancy": self.occupancy} | ({} if self.recipe.cameras.track == "off" else {"origin": self.origin})
        named |= {f"field.{name}": tensor for name, tensor in self.field.state_dict().items()}
        named |= {f"start.{name}": tensor for name, tensor in (self.start.tensors() if self.start else {}).items()}
        for name, parameter in self.field.named_parameters():
            moments = self.optimizer.moments.get(parameter, {})
            named |= {f"adam.{moment}.{name}": tensor for moment, tensor in moments.items()}
        return named


def _start_of(tensors: Mapping[str, Tensor], device: torch.device) -> Start | None:
    """Return the start in a saved state, if it has one. Raises CheckpointError: only a part of it is there."""
    parts = {name.removeprefix("start."): tensor for name, tensor in tensors.items() if name.startswith("start.")}
    if not parts:
        return None
    occupancy, colours = parts.get("occupancy"), parts.get("colours")
    if occupancy is None or colours is None or occupancy.dim() != 3 or colours.shape != (*occupancy.shape, 3):
        raise CheckpointError(_MISFIT)
    return Start(CoarseObject(occupancy.to(device, torch.float32), colours.to(device, torch.float32)))


def _layouts(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def check_counters(counters: Mapping[str, Any]) -> dict[str, int]:
    """Return a state's integers. Raises CheckpointError: one is missing, unknown, of a wrong type or out of range."""
    numbers = _SINCE_2 | {name: value for name, value in counters.items() if name != "watch"}
    means = counters.get("watch")
    if numbers.keys() != _LARGEST.keys() or not isinstance(means, Mapping):
        raise CheckpointError(_MISFIT)
    if any(type(value) is not int or not 0 <= value <= _LARGEST[name] for name, value in numbers.items()):
        raise CheckpointError(f"the checkpoint's counters are out of range: {numbers}; it was not made by this program")
    kinds = {name: type(value) for name, value in dataclasses.asdict(RunningMeans()).items()}
    if {name: type(value) for name, value in means.items()} != kinds or not all(map(math.isfinite, means.values())):
        raise CheckpointError("the checkpoint's running means are not numbers; it was not made by this program")
    return numbers


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a value that is not finite, or None; run before updates and saves."""
    for name, one in tensors.items():
        # A finite sum proves it in a tenth of the time of testing each value, but a sum of finite values may overflow.
        if one.is_floating_point() and not math.isfinite(one.sum()) and not torch.isfinite(one).all():
            return name
    return None
