"""The loop: a generator of steps that the command line, a notebook and the tests drive with a plain `for`.

One step, in the paper's order: cameras -> rays -> samples -> field -> picture -> backgrounds -> variations -> guides ->
loss -> Adam. In some steps the views are in plaster; where there is a geometry prompt, one such view more goes the same
way instead. Every draw comes from (seed, stream, step), so a stopped loop goes on as if it had not been stopped.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from dreamfields.errors import DegenerateError
from dreamfields.optimize import schedules
from dreamfields.optimize.collapse import Verdict, diagnose, observe
from dreamfields.optimize.finite import first_nonfinite
from dreamfields.optimize.objective import Target, evaluate_objective
from dreamfields.optimize.randomness import generator
from dreamfields.optimize.sparsity import disturbed
from dreamfields.optimize.state import Saved, TrainingState
from dreamfields.optimize.textureless import is_textureless_step, render_textureless, render_textureless_view
from dreamfields.render.renderer import Rendering, render_jittered
from dreamfields.scene.cameras import Camera, sample_cameras

SKIPS: Final = 10
"""Updates skipped in a row after which the state goes back."""
ROLLBACKS: Final = 3
"""Times an attempt goes back before it is given up."""


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
    """Mean score of this step's pictures, in [-1, 1]; where they are in plaster, which says nothing of the object in
    its colours, the running mean of the steps before."""
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
    skipped: str | None = None
    """What was not finite, so that the field was left as it was; None while all is well."""
    rolled_back: bool = False
    """Whether so many steps were skipped in a row that the state went back to the last good one after this step."""


def optimize(
    state: TrainingState, targets: Sequence[Target], recall: Callable[[], Saved | None] = lambda: None
) -> Iterator[Step]:
    """Run the steps that are left, yielding each once it is done; `state` is then ready to be saved or shown.

    An attempt that collapses is begun again from a derived seed, as often as the recipe allows; the last attempt goes
    on to its end whatever it looks like. An update that is not finite is skipped; after `SKIPS` in a row the state goes
    back to what `recall` returns, or to the attempt's beginning, with other draws and half the learning rate.

    Raises:
        DegenerateError: that helped `ROLLBACKS` times no further; the state is finite, but no longer learns.
    """
    settings = state.recipe.optimize
    while state.step < settings.steps:
        step = take_step(state, targets)
        # Before the step is handed out, so that whoever stops here leaves the next attempt behind, not the lost one.
        if step.collapsed is not None:
            state.restart()
        elif state.skipped >= SKIPS:
            if state.rollbacks >= ROLLBACKS:
                raise DegenerateError(_given_up(step))
            state.roll_back(recall())
            step = replace(step, rolled_back=True)
        yield step


def take_step(state: TrainingState, targets: Sequence[Target]) -> Step:
    """Advance the state by one step; if its loss or gradient is not finite, by the number of the step alone."""
    began = time.perf_counter()
    recipe, seed, index = state.recipe, state.attempt_seed, state.step
    progress = index / recipe.optimize.steps
    if index % recipe.render.occupancy_every == 0:
        state.update_occupancy()

    cameras = sample_cameras(recipe.cameras, recipe.optimize.views, generator(seed, "cameras", index), state.target)
    azimuths, geometry_view = [camera.azimuth_deg for camera in cameras], None
    has_geometry_prompt = any(target.geometry for target in targets)
    can_read = not has_geometry_prompt and all(target.textureless for target in targets)
    textureless = can_read and is_textureless_step(recipe.render, progress, seed, index)
    if textureless:
        targets = [replace(target, embeddings=target.textureless) for target in targets if target.textureless]
    rendering = _look(state, cameras, progress, textureless)
    if has_geometry_prompt:
        geometry_view = render_textureless_view(state.field, cameras, recipe.render, state.sampled_cells, seed, index)
    objective = evaluate_objective(rendering, targets, recipe, seed, index, azimuths, geometry_view)
    loss = objective.total(recipe.losses)
    skipped = _descend(state, loss, progress)

    state.track()
    state.step += 1
    score = state.running_means.score if textureless else -float(objective.guidance.detach())
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
        fog=objective.fog_level,
        seconds=time.perf_counter() - began,
        collapsed=diagnose(state.running_means, recipe.optimize.steps, recipe.collapse) if may_restart else None,
        skipped=skipped,
    )


def _look(state: TrainingState, cameras: Sequence[Camera], progress: float, textureless: bool) -> Rendering:
    """Render a step's views, in colour or in plaster."""
    recipe, seed, index = state.recipe, state.attempt_seed, state.step
    look, draws = render_textureless if textureless else render_jittered, generator(seed, "samples", index)
    noise = schedules.line(progress, *recipe.losses.density_noise)
    with disturbed(state.field, noise, seed, index):
        return look(state.field, cameras, recipe.render, state.sampled_cells, draws)


def _descend(state: TrainingState, loss: torch.Tensor, progress: float) -> str | None:
    """Take one step of Adam, or none and return the name of what is not finite."""
    settings = state.recipe.optimize
    rate = schedules.learning_rate(progress, settings.learning_rate, settings.final_learning_rate)
    rate *= schedules.warm_up(progress, settings.warm_up, settings.warm_up_from)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * 0.5**state.rollbacks
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    named = {name: one.grad for name, one in state.field.named_parameters() if one.grad is not None}
    # Checked before Adam sees it, and before anything could clip it: one NaN in a moment would stay there for ever.
    odd = first_nonfinite(
        {"the loss": loss.detach(), **{f"the gradient of {name}": one for name, one in named.items()}}
    )
    if odd is None:
        state.optimizer.step()
    return odd


def _given_up(step: Step) -> str:
    return (
        f"{step.skipped} is not finite {SKIPS} steps in a row, after {ROLLBACKS} returns to the last good state with "
        "half the learning rate each; that state is kept, and a new run may do better with a lower "
        "--optimize.learning-rate"
    )
