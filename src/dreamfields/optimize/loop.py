"""The loop: a generator of steps that the command line, a notebook and the tests drive with a plain `for`.

One step, in the paper's order: cameras -> rays -> samples -> field -> picture -> backgrounds -> variations -> guides ->
loss -> Adam. Every draw comes from (seed, stream, step), so a stopped loop goes on as if it had not been stopped.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from dreamfields.errors import DegenerateError
from dreamfields.optimize import losses, schedules
from dreamfields.optimize.collapse import Verdict, diagnose, observe
from dreamfields.optimize.objective import Target, evaluate_objective
from dreamfields.optimize.randomness import generator
from dreamfields.optimize.sparsity import disturbed
from dreamfields.optimize.state import TrainingState
from dreamfields.render.renderer import render
from dreamfields.scene.cameras import sample_cameras


@dataclass(frozen=True)
class Step:
    """What one step did."""

    index: int
    """Steps done in this attempt, this one included."""
    total: int
    """Steps an attempt has."""
    attempt: int
    """0 for the first; each restart adds 1."""
    score: float
    """Mean score of this step's pictures, in [-1, 1]."""
    loss: float
    """The weighted sum that was minimised."""
    opacity: float
    """Mean opacity of this step's views, in [0, 1]."""
    fog: float
    """Haze of this step's views, in [0, 1]; see `losses.fog`."""
    seconds: float
    """Time the step took."""
    collapsed: Verdict | None
    """Why the attempt was given up after this step; None while all is well."""


def optimize(state: TrainingState, targets: Sequence[Target]) -> Iterator[Step]:
    """Run the steps that are left, yielding each once it is done; `state` is then ready to be saved or shown.

    An attempt that collapses is begun again from a derived seed, as often as the recipe allows; the last attempt goes
    on to its end whatever it looks like.
    """
    settings = state.recipe.optimize
    while state.step < settings.steps:
        step = take_step(state, targets)
        # Before the step is handed out, so that whoever stops here leaves the next attempt behind, not the lost one.
        if step.collapsed is not None:
            state.restart()
        yield step


def take_step(state: TrainingState, targets: Sequence[Target]) -> Step:
    """Advance the state by one step.

    Raises:
        DegenerateError: the loss is not finite; the state is as before the step.
    """
    began = time.perf_counter()
    recipe, seed, index = state.recipe, state.attempt_seed, state.step
    progress = index / recipe.optimize.steps
    if index % recipe.render.occupancy_every == 0:
        state.look_for_occupancy()

    cameras = sample_cameras(recipe.cameras, recipe.optimize.views, generator(seed, "cameras", index), state.target)
    noise = schedules.line(progress, *recipe.losses.density_noise)
    with disturbed(state.field, noise, seed, index):
        rendering = render(
            state.field,
            cameras,
            recipe.render.size,
            recipe.render.samples,
            occupancy=state.occupancy if recipe.render.bounds else None,
            generator=generator(seed, "samples", index),
            bounded=recipe.render.bounds,
        )
    objective = evaluate_objective(rendering, targets, recipe, seed, index)
    loss = objective.total(recipe.losses)
    moved = _descend(state, loss, progress)

    state.track()
    state.step += 1
    score, opacity = -float(objective.guidance.detach()), float(rendering.opacity.detach().mean())
    if moved:
        state.watch = observe(state.watch, score, opacity, recipe.collapse)
    may_restart = state.attempt < recipe.collapse.restarts
    return Step(
        index=state.step,
        total=recipe.optimize.steps,
        attempt=state.attempt,
        score=score,
        loss=float(loss.detach()),
        opacity=opacity,
        fog=float(losses.fog(rendering.opacity.detach())),
        seconds=time.perf_counter() - began,
        collapsed=diagnose(state.watch, recipe.optimize.steps, recipe.collapse) if may_restart else None,
    )


def _descend(state: TrainingState, loss: torch.Tensor, progress: float) -> bool:
    """Take Adam's step and return True; False where it was left out, for something was not finite."""
    settings = state.recipe.optimize
    rate = schedules.learning_rate(progress, settings.learning_rate, settings.final_learning_rate)
    rate *= schedules.warm_up(progress, settings.warm_up, settings.warm_up_from)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradients = [parameter.grad for parameter in state.field.parameters() if parameter.grad is not None]
    # Checked before Adam sees it: one NaN in a moment would stay there for ever. A sum is finite only if all of it is.
    if not all(bool(torch.isfinite(part.sum())) for part in [loss.detach(), *gradients]):
        # A field that is not finite itself would have every step left out.
        if settings.skip_faulty and all(bool(torch.isfinite(part.sum())) for part in state.field.parameters()):
            return False
        raise DegenerateError(
            f"the loss or its gradient is not finite at step {state.step}; lower --optimize.learning-rate"
        )
    state.optimizer.step()
    return True
