"""The loop: a generator of steps, for any caller with a `for`.

One step, in the paper's order: cameras -> rays -> samples -> field -> views -> backgrounds -> augmentation -> guides ->
loss -> Adam. All random draws depend on (seed, stream, step) only, so a resumed loop equals an uninterrupted one.
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
from dreamfields.optimize.objective import Target, evaluate_objective
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.state import Saved, TrainingState, first_nonfinite
from dreamfields.optimize.textureless import is_textureless_step, render_textureless, render_textureless_view
from dreamfields.render.renderer import render_jittered
from dreamfields.scene.cameras import sample_cameras
from dreamfields.scene.fields.base import AbstractField

SKIPS: Final = 10  # Updates skipped in a row after which the state is rolled back
ROLLBACKS: Final = 3  # Rollbacks of an attempt after which the run fails
_NO_LONGER_LEARNS: Final = (
    f"is not finite {SKIPS} steps in a row, after {ROLLBACKS} returns to the last good state with half the learning "
    "rate each; that state is kept, and a new run may do better with a lower --optimize.learning-rate"
)


@dataclass(frozen=True)
class Step:
    """The report of one step."""

    index: int  # Steps done in this attempt, this one included
    total: int  # Steps of an attempt
    attempt: int  # 0 for the first; each restart adds 1
    score: float  # Mean score of the views, in [-1, 1]; at a textureless step, the running mean before it
    loss: float  # The weighted sum that was minimised
    opacity: float  # Mean opacity of the views, in [0, 1]
    fog: float  # Fog of the views, in [0, 1]; see `losses.fog`
    seconds: float  # Duration of the step
    collapsed: Verdict | None  # Why the attempt was given up after this step, if it was
    skipped: str | None = None  # What was not finite, if the update was skipped for that
    rolled_back: bool = False  # Whether the state was rolled back after this step


def optimize(
    state: TrainingState, targets: Sequence[Target], recall: Callable[[], Saved | None] = lambda: None
) -> Iterator[Step]:
    """Run the remaining steps, yielding each once it is done; the state can then be saved or rendered.

    A collapsed attempt is restarted from a derived seed, as often as the recipe allows. An update that is not finite
    is skipped; after `SKIPS` in a row the state is rolled back to what `recall` returns, or to the attempt's beginning,
    with new draws and half the learning rate.

    Raises DegenerateError: updates are still not finite after `ROLLBACKS` rollbacks; the state is finite.
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
    """Advance the state by one step; if the loss or a gradient is not finite, only its step count advances."""
    began, recipe = time.perf_counter(), state.recipe
    context = StepContext(recipe, state.attempt_seed, state.step)
    if context.step % recipe.render.occupancy_every == 0:
        state.update_occupancy()

    cameras = sample_cameras(recipe.cameras, recipe.optimize.views, context.generator("cameras"), state.target)
    azimuths_deg = [camera.azimuth_deg for camera in cameras]
    # A geometry prompt is scored on one more, textureless view. Without one, all views are textureless at some steps,
    # if every guide can score such views.
    has_geometry_prompt = any(target.geometry for target in targets)
    others = [replace(target, embeddings=target.textureless) for target in targets if target.textureless]
    textureless = not has_geometry_prompt and len(others) == len(targets) and is_textureless_step(context)
    with density_noise(state.field, context):
        render, generator = render_textureless if textureless else render_jittered, context.generator("samples")
        rendering = render(state.field, cameras, recipe.render, state.sampled_cells, generator)
    geometry_view = None
    if has_geometry_prompt:
        geometry_view = render_textureless_view(state.field, cameras, state.sampled_cells, context)
    scored, begun = others if textureless else targets, state.begun(context.progress)
    objective = evaluate_objective(rendering, scored, context, azimuths_deg, geometry_view, begun)
    loss = objective.total()
    skipped = _descend(state, loss, context.progress)
    state.track()
    state.step += 1

    score = state.running_means.score if textureless else objective.score
    opacity = float(rendering.opacity.detach().mean())
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


@contextmanager
def density_noise(field: AbstractField, context: StepContext) -> Iterator[None]:
    """Add normal noise to a network's density before its softplus in the block (table 2), if the recipe has any."""
    deviation = schedules.line(context.progress, *context.recipe.losses.density_noise)
    if deviation > 0.0:
        generator = context.generator("density")
        field.density_noise = lambda s: s + deviation * torch.randn(s.shape, generator=generator).to(s.device)
    try:
        yield
    finally:
        field.density_noise = None


def _descend(state: TrainingState, loss: torch.Tensor, progress: float) -> str | None:
    """Take one step of Adam; if the loss or a gradient is not finite, take none and return its name."""
    settings = state.recipe.optimize
    rate = schedules.learning_rate(progress, settings.learning_rate, settings.final_learning_rate)
    rate *= schedules.warm_up(progress, settings.warm_up, settings.warm_up_from)
    state.optimizer.rate = rate * 0.5**state.rollbacks
    state.optimizer.zero_grad()
    loss.backward()
    parameters = state.field.named_parameters()
    gradients = {f"the gradient of {name}": one.grad for name, one in parameters if one.grad is not None}
    # Checked before Adam and before any clipping: one NaN in a moment would stay there.
    nonfinite = first_nonfinite({"the loss": loss.detach(), **gradients})
    if nonfinite is None:
        state.optimizer.step()
    return nonfinite
