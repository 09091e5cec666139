"""The loop: a generator of steps that the command line, a notebook and the tests drive with a plain `for`.

One step, in the paper's order: cameras -> rays -> samples -> field -> views -> backgrounds -> augmentation -> guides ->
loss -> Adam. Every draw comes from (seed, stream, step), so a resumed loop goes on as if it had never been stopped.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import torch

from dreamfields.errors import DegenerateError
from dreamfields.optimize import schedules
from dreamfields.optimize.collapse import Verdict, diagnose, observe
from dreamfields.optimize.finite import first_nonfinite
from dreamfields.optimize.objective import Target, evaluate_objective
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.state import Saved, TrainingState
from dreamfields.optimize.textureless import (
    TexturelessView,
    is_textureless_step,
    render_textureless,
    render_textureless_view,
)
from dreamfields.render.renderer import Rendering, render_jittered
from dreamfields.scene.cameras import Camera, sample_cameras
from dreamfields.scene.fields.base import AbstractField

SKIPS: Final = 10  # Updates skipped in a row after which the state is rolled back
ROLLBACKS: Final = 3  # Rollbacks of an attempt after which the run fails
_NO_LONGER_LEARNS: Final = (
    f"is not finite {SKIPS} steps in a row, after {ROLLBACKS} returns to the last good state with half the learning "
    "rate each; that state is kept, and a new run may do better with a lower --optimize.learning-rate"
)


@dataclass(frozen=True)
class Step:
    """What one step did."""

    index: int  # Steps done in this attempt, this one included
    total: int  # Steps an attempt has
    attempt: int  # 0 for the first; each restart adds 1
    score: float
    """Mean score of the views, in [-1, 1]; at a textureless step, whose scores differ, the running mean before it."""
    loss: float  # The weighted sum that was minimised
    opacity: float  # Mean opacity of the views, in [0, 1]
    fog: float  # Fog of the views, in [0, 1]; see `losses.fog`
    seconds: float  # Duration of the step
    collapsed: Verdict | None  # Why the attempt was given up after this step; None while it goes on
    skipped: str | None = None  # What was not finite, so that the update was skipped; None where the field was updated
    rolled_back: bool = False  # Whether the state was rolled back after this step


@dataclass(frozen=True)
class StepViews:
    """The rendered views of a step, and what each guide scores them against."""

    rendering: Rendering  # (v, ...)
    targets: Sequence[Target]
    textureless: bool = False  # Whether the rendering is textureless
    geometry: TexturelessView | None = None  # One more view, for the geometry prompt


def optimize(
    state: TrainingState, targets: Sequence[Target], recall: Callable[[], Saved | None] = lambda: None
) -> Iterator[Step]:
    """Run the remaining steps, yielding each once it is done; the state can then be saved or rendered.

    A collapsed attempt is restarted from a derived seed, as often as the recipe allows; the last one always runs to its
    end. An update that is not finite is skipped; after `SKIPS` in a row the state is rolled back to what `recall`
    returns, or to the attempt's beginning, with other draws and half the learning rate.

    Raises DegenerateError: `ROLLBACKS` rollbacks did not help; the state is finite, but no longer learns.
    """
    settings = state.recipe.optimize
    while state.step < settings.steps:
        step = take_step(state, targets)
        # Before the step is yielded, so that a caller who stops here saves the next attempt, not the collapsed one.
        if step.collapsed is not None:
            state.restart()
        elif state.skipped >= SKIPS:
            if state.rollbacks >= ROLLBACKS:
                raise DegenerateError(f"{step.skipped} {_NO_LONGER_LEARNS}")
            state.roll_back(recall())
            step = replace(step, rolled_back=True)
        yield step


def take_step(state: TrainingState, targets: Sequence[Target]) -> Step:
    """Advance the state by one step; where the loss or a gradient is not finite, only its step count advances."""
    began, recipe = time.perf_counter(), state.recipe
    context = StepContext(recipe, state.attempt_seed, state.step)
    if context.step % recipe.render.occupancy_every == 0:
        state.update_occupancy()

    cameras = sample_cameras(recipe.cameras, recipe.optimize.views, context.generator("cameras"), state.target)
    azimuths_deg = [camera.azimuth_deg for camera in cameras]
    views = choose_views(state, cameras, targets, context)
    objective = evaluate_objective(views.rendering, views.targets, context, azimuths_deg, views.geometry)
    loss = objective.total()
    skipped = _descend(state, loss, context.progress)
    state.track()
    state.step += 1

    score = state.running_means.score if views.textureless else objective.score
    opacity = float(views.rendering.opacity.detach().mean())
    if skipped is None:
        state.skipped = 0
        state.running_means = observe(state.running_means, score, opacity, recipe.collapse)
    else:
        state.skipped += 1
    may_restart = state.attempt < recipe.collapse.restarts
    return Step(
        index=state.step,
        total=recipe.optimize.steps,
        attempt=state.attempt,
        score=score,
        loss=float(loss.detach()),
        opacity=opacity,
        fog=objective.fog,
        seconds=time.perf_counter() - began,
        collapsed=diagnose(state.running_means, recipe.optimize.steps, recipe.collapse) if may_restart else None,
        skipped=skipped,
    )


def choose_views(
    state: TrainingState, cameras: Sequence[Camera], targets: Sequence[Target], context: StepContext
) -> StepViews:
    """Render a step's views in colour, or textureless at the steps drawn for that if every guide can score such views.

    A geometry prompt is scored on one textureless view more; the others are then always in colour.
    """
    if any(target.geometry for target in targets):
        colour = _render_views(state, cameras, context)
        more = render_textureless_view(state.field, cameras, state.sampled_cells, context)
        return StepViews(colour, targets, geometry=more)
    textureless = [replace(target, embeddings=target.textureless) for target in targets if target.textureless]
    if len(textureless) == len(targets) and is_textureless_step(context):
        return StepViews(_render_views(state, cameras, context, textureless=True), textureless, textureless=True)
    return StepViews(_render_views(state, cameras, context), targets)


def _render_views(
    state: TrainingState, cameras: Sequence[Camera], context: StepContext, textureless: bool = False
) -> Rendering:
    render = render_textureless if textureless else render_jittered
    generator = context.generator("samples")
    with density_noise(state.field, context):
        return render(state.field, cameras, context.recipe.render, state.sampled_cells, generator)


@contextmanager
def density_noise(field: AbstractField, context: StepContext) -> Iterator[None]:
    """Add normal noise to a network's density before its softplus within the block; at deviation 0, draw nothing.

    Dream Fields table 2; the deviation follows `losses.density_noise`.
    """
    deviation = schedules.line(context.progress, *context.recipe.losses.density_noise)
    if deviation > 0.0:
        generator = context.generator("density")
        field.density_noise = lambda s: s + deviation * torch.randn(s.shape, generator=generator).to(s.device)
    try:
        yield
    finally:
        field.density_noise = None


def _descend(state: TrainingState, loss: torch.Tensor, progress: float) -> str | None:
    """Take one step of Adam; where something is not finite, take none and return its name."""
    settings = state.recipe.optimize
    rate = schedules.learning_rate(progress, settings.learning_rate, settings.final_learning_rate)
    rate *= schedules.warm_up(progress, settings.warm_up, settings.warm_up_from)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * 0.5**state.rollbacks
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = state.field.named_parameters()
    gradients = {f"the gradient of {name}": one.grad for name, one in parameters if one.grad is not None}
    # Checked before Adam sees it, and before anything could clip it: one NaN in a moment would stay there for ever.
    nonfinite = first_nonfinite({"the loss": loss.detach(), **gradients})
    if nonfinite is None:
        state.optimizer.step()
    return nonfinite
