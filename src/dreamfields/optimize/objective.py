"""What a step is scored on: views in front of backgrounds, varied, in the eyes of every guide.

Notation: v views, k backgrounds a view; each guide sees v k pictures a step, of its own backgrounds and variations,
and where there is a geometry prompt another k of the view in plaster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.guidance.chunked import score_in_parts
from dreamfields.guidance.prompt_embeddings import (
    PromptEmbeddings,
    embed_prompts,
    geometry_sentences,
    prompt_sentences,
    textureless_embeddings,
)
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize import losses, schedules, sparsity
from dreamfields.optimize.randomness import generator
from dreamfields.optimize.settings import LossSettings, Recipe
from dreamfields.optimize.textureless import TexturelessView
from dreamfields.render import crops
from dreamfields.render.augment import draw_augmentation
from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.compose import compose_views
from dreamfields.render.renderer import Rendering


@dataclass(frozen=True)
class Target:
    """A guide and what it is to find in every picture."""

    guidance: AbstractGuidance
    embeddings: PromptEmbeddings
    """Of the prompt, its paraphrases, its wordings by azimuth."""
    weight: float
    start: float = 0.0
    """Share of the steps from which it is asked."""
    textureless: PromptEmbeddings | None = None
    """Of the same, for pictures in plaster; None where the guide's score says nothing of those."""
    geometry: PromptEmbeddings | None = None
    """Of the geometry prompt, if there is one."""
    geometry_weight: float = 0.0
    """Weight of its score, against the prompt's."""


@dataclass(frozen=True)
class Objective:
    """The terms of one step's loss, each a scalar tensor before its weight."""

    guidance: Tensor
    transmittance: Tensor
    total_variation: Tensor
    fog: Tensor
    """Already weighed by its ramp."""
    fog_level: float
    """What `losses.fog` measures, in [0, 1], whatever its weight."""
    gate: Tensor | None = None
    """Factor of the guidance in place of the transmittance's term; None where that is additive."""
    beta_prior: Tensor | None = None
    """None where it has no weight."""
    geometry: Tensor | None = None
    """What the geometry prompt adds to the guidance, already weighed; None where there is none."""

    def total(self, settings: LossSettings) -> Tensor:
        """Return the weighted sum: ()."""
        guidance = self.guidance if self.geometry is None else self.guidance + self.geometry
        total = (
            settings.guidance * (guidance if self.gate is None else self.gate * guidance)
            + settings.transmittance * self.transmittance
            + settings.total_variation * self.total_variation
            + settings.fog * self.fog
        )
        return total if self.beta_prior is None else total + settings.beta_prior * self.beta_prior


def make_targets(
    guides: Sequence[Guide], template: str, prompt: str, prompts: PromptSettings | None = None
) -> list[Target]:
    """Embed the prompt, and what else is asked, once for every guide."""
    prompts = prompts or PromptSettings()
    rows, shape = prompt_sentences(prompt, prompts), geometry_sentences(prompts)
    targets = []
    for guide in guides:
        embeddings = embed_prompts(guide.guidance, template, rows, prompts)
        geometry = embed_prompts(guide.guidance, template, shape, prompts) if shape else None
        target = Target(
            guide.guidance,
            embeddings,
            guide.weight,
            guide.start,
            textureless=textureless_embeddings(guide.guidance, embeddings),
            # It was asked for, so those who read plaster badly are asked as well.
            geometry=geometry and (textureless_embeddings(guide.guidance, geometry) or geometry),
            geometry_weight=prompts.geometry_weight,
        )
        targets.append(target)
    return targets


def evaluate_objective(
    rendering: Rendering,
    targets: Sequence[Target],
    recipe: Recipe,
    seed: int,
    step: int,
    azimuths_deg: Sequence[float] = (),
    geometry_view: TexturelessView | None = None,
) -> Objective:
    """Score a rendering of v views; every draw comes from the seed and the step, every schedule from the step.

    Args:
        rendering: the views in colour.
        targets: who looks, for what.
        recipe: how.
        seed: of the attempt.
        step: its number.
        azimuths_deg: where each view is taken from; may be left out where no wording depends on it.
        geometry_view: what a geometry prompt is scored on; None where there is none.
    """
    progress, terms = step / recipe.optimize.steps, recipe.losses
    transmittance = schedules.transmittance_target(
        progress, terms.transmittance_start, terms.transmittance_end, terms.transmittance_ramp
    )
    guidance, geometry = guidance_losses(rendering, targets, recipe, seed, step, azimuths_deg, geometry_view)
    fog_level, rising = losses.fog(rendering.opacity), schedules.ramp(progress, *terms.fog_ramp)
    opacity, gated = rendering.opacity, terms.transmittance_form != "additive"
    clipped = transmittance if terms.transmittance_form == "clipped-gated" else None
    nothing = torch.zeros((), device=opacity.device)
    return Objective(
        guidance=guidance,
        transmittance=nothing if gated else losses.transmittance_loss(opacity, transmittance),
        # What weighs nothing costs nothing.
        total_variation=losses.total_variation(rendering.opacity) if terms.total_variation > 0.0 else nothing,
        fog=rising * fog_level if rising > 0.0 else nothing,
        fog_level=float(fog_level.detach()),
        gate=sparsity.gate(opacity, clipped) if gated else None,
        beta_prior=sparsity.beta_prior(opacity) if terms.beta_prior > 0.0 else None,
        geometry=geometry,
    )


def guidance_losses(
    rendering: Rendering,
    targets: Sequence[Target],
    recipe: Recipe,
    seed: int,
    step: int,
    azimuths_deg: Sequence[float] = (),
    geometry_view: TexturelessView | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the guides' terms for the views and, where there is one, for the view in plaster, weighed: () each."""
    progress = step / recipe.optimize.steps
    sharpness = schedules.ramp(progress, *recipe.guidance.sharpen)
    active = [i for i, target in enumerate(targets) if target.start <= progress]
    prompts = [active[step % len(active)]] if recipe.guidance.alternate else active
    # One in turn counts as all do together: over a round, the mean is the weighted mean.
    fraction = sum(targets[i].weight for i in active) * len(prompts) / len(active)
    paraphrase = draw_paraphrase(targets[0].embeddings.paraphrases, seed, step)
    scores, shapes = [], []
    for i in prompts:
        target, guidance = targets[i], targets[i].guidance
        wanted, draws = target.embeddings.towards(paraphrase, azimuths_deg), generator(seed, f"guide {i}", step)
        scores.append(target.weight * guidance_term(rendering, guidance, wanted, recipe, sharpness, draws))
        if geometry_view is not None and target.geometry is not None:
            wanted, draws = (
                target.geometry.towards(0, [geometry_view.azimuth_deg]),
                generator(seed, f"geometry {i}", step),
            )
            term = guidance_term(geometry_view.rendering, guidance, wanted, recipe, sharpness, draws)
            shapes.append(target.geometry_weight * target.weight * term)
    return torch.stack(scores).sum() / fraction, torch.stack(shapes).sum() / fraction if shapes else None


def draw_paraphrase(count: int, seed: int, step: int) -> int:
    """Draw which of several wordings counts in a step, from the seed and the step alone."""
    return int(torch.randint(count, (), generator=generator(seed, "paraphrase", step))) if count > 1 else 0


def guidance_term(
    rendering: Rendering,
    guidance: AbstractGuidance,
    wanted: Sequence[Tensor],
    recipe: Recipe,
    sharpness: float,
    draws: torch.Generator,
) -> Tensor:
    """Return minus one guide's mean score over v k pictures: ().

    Args:
        rendering: v views.
        guidance: who looks.
        wanted: what is to be found, an embedding (d,) for each view, or one for all of them.
        recipe: how they are shown.
        sharpness: see `AbstractGuidance.score`.
        draws: for backgrounds and variations.
    """
    varied, batch_size = pictures(rendering, guidance, recipe, draws), recipe.guidance.batch_size
    scores = []
    for view, embedding in enumerate(wanted):
        # Views keep their order over all their backgrounds, so every so many pictures are of the same one.
        score = partial(guidance.score, text_embedding=embedding, sharpness=sharpness)
        scores.append(score_in_parts(score, varied[view :: len(wanted)], batch_size))
    return losses.guidance_loss(torch.cat(scores))


def pictures(rendering: Rendering, guidance: AbstractGuidance, recipe: Recipe, draws: torch.Generator) -> Tensor:
    """Return what a guidance is shown of v views: (v k, 3, size, size) in [0, 1]."""
    if recipe.augment.crop:
        return crop_and_compose(rendering, recipe, draw_size(guidance, draws), draws)
    count = len(rendering.colour) * recipe.optimize.backgrounds
    backgrounds = draw_backgrounds(recipe.backgrounds, count, rendering.colour.shape[-1], draws)
    augmentation = draw_augmentation(count, draw_size(guidance, draws), recipe.augment, draws)
    twice = recipe.backgrounds.compositing == "double"
    return compose_views(crops.double(rendering) if twice else rendering, backgrounds, augmentation)


def crop_and_compose(rendering: Rendering, recipe: Recipe, size: int, draws: torch.Generator) -> Tensor:
    """Put crops of views, enlarged to a guide's size, on fresh backgrounds of that size: (v k, 3, size, size)."""
    cut = crops.crop_views(rendering, recipe.augment.crop, recipe.optimize.backgrounds, size, draws)
    if recipe.backgrounds.compositing == "double":
        cut = crops.double(cut)
    return cut.over(draw_backgrounds(recipe.backgrounds, len(cut.colour), size, draws, cut.colour.device))


def draw_size(guidance: AbstractGuidance, draws: torch.Generator) -> int:
    """Draw one of the sizes at which a guidance may be shown pictures."""
    sizes = guidance.image_sizes
    return sizes[int(torch.randint(len(sizes), (), generator=draws))]
