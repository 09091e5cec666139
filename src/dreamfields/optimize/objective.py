"""What a step is scored on: views in front of backgrounds, varied, in the eyes of every guide.

Notation: v views, k backgrounds a view; each guide sees v k pictures a step, of its own backgrounds and variations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfields.guidance.base import AbstractGuidance, Guide, mean_direction
from dreamfields.guidance.prompts import fill_wordings
from dreamfields.optimize import losses, schedules
from dreamfields.optimize.randomness import generator
from dreamfields.optimize.settings import LossSettings, Recipe
from dreamfields.render.augment import draw_variation
from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.present import present
from dreamfields.render.renderer import Rendering


@dataclass(frozen=True)
class Target:
    """A guide and the embedding (d,) it is to find in every picture."""

    guidance: AbstractGuidance
    embedding: Tensor
    weight: float
    start: float = 0.0
    """Share of the steps from which it is asked."""


@dataclass(frozen=True)
class Objective:
    """The terms of one step's loss, each a scalar tensor before its weight."""

    guidance: Tensor
    transmittance: Tensor
    total_variation: Tensor
    fog: Tensor
    """Already weighed by its ramp."""
    haze: float
    """What `losses.fog` measures, in [0, 1], whatever its weight."""

    def total(self, settings: LossSettings) -> Tensor:
        """Return the weighted sum: ()."""
        return (
            settings.guidance * self.guidance
            + settings.transmittance * self.transmittance
            + settings.total_variation * self.total_variation
            + settings.fog * self.fog
        )


def make_targets(guides: Sequence[Guide], template: str, prompt: str) -> list[Target]:
    """Embed the prompt, put into every wording of the template, once for every guide."""
    sentences = fill_wordings(template, prompt)
    embeddings = [mean_direction(guide.guidance.encode_text(sentences)) for guide in guides]
    return [Target(g.guidance, e, g.weight, g.start) for g, e in zip(guides, embeddings, strict=True)]


def evaluate_objective(
    rendering: Rendering, targets: Sequence[Target], recipe: Recipe, seed: int, step: int
) -> Objective:
    """Score a rendering of v views; every draw comes from the seed and the step, every schedule from the step."""
    progress, terms = step / recipe.optimize.steps, recipe.losses
    sharpness = schedules.ramp(progress, *recipe.guidance.sharpen)
    transmittance = schedules.transmittance_target(
        progress, terms.transmittance_start, terms.transmittance_end, terms.transmittance_ramp
    )
    active = [i for i, target in enumerate(targets) if target.start <= progress]
    asked = [active[step % len(active)]] if recipe.guidance.alternate else active
    scores = [
        targets[i].weight * guidance_term(rendering, targets[i], recipe, sharpness, generator(seed, f"guide {i}", step))
        for i in asked
    ]
    haze, rising = losses.fog(rendering.opacity), schedules.ramp(progress, *terms.fog_ramp)
    nothing = torch.zeros((), device=rendering.opacity.device)
    return Objective(
        # One in turn counts as all do together: over a round, the mean is the weighted mean.
        guidance=torch.stack(scores).sum() / (sum(targets[i].weight for i in active) * len(asked) / len(active)),
        transmittance=losses.transmittance_loss(rendering.opacity, transmittance),
        # What weighs nothing costs nothing.
        total_variation=losses.total_variation(rendering.opacity) if terms.total_variation > 0.0 else nothing,
        fog=rising * haze if rising > 0.0 else nothing,
        haze=float(haze.detach()),
    )


def guidance_term(
    rendering: Rendering, target: Target, recipe: Recipe, sharpness: float, draws: torch.Generator
) -> Tensor:
    """Return minus one guide's mean score over v k pictures: ()."""
    varied = pictures(rendering, target.guidance, recipe, draws)
    return losses.guidance_loss(target.guidance.score(varied, target.embedding, sharpness))


def pictures(rendering: Rendering, guidance: AbstractGuidance, recipe: Recipe, draws: torch.Generator) -> Tensor:
    """Return what a guidance is shown of v views: (v k, 3, size, size) in [0, 1]."""
    count = len(rendering.colour) * recipe.optimize.backgrounds
    backgrounds = draw_backgrounds(recipe.backgrounds, count, rendering.colour.shape[-1], draws)
    variation = draw_variation(count, draw_size(guidance, draws), recipe.augment, draws)
    return present(rendering, backgrounds, variation)


def draw_size(guidance: AbstractGuidance, draws: torch.Generator) -> int:
    """Draw one of the sizes at which a guidance may be shown pictures."""
    sizes = guidance.image_sizes
    return sizes[int(torch.randint(len(sizes), (), generator=draws))]
