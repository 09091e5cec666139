"""The objective of a step: its views on backgrounds, augmented, scored by every guide, and the other terms of the loss.

Notation: v views, k backgrounds a view. Each guide scores v k images a step, with backgrounds and augmentations of its
own; where there is a geometry prompt, it scores k more of one textureless view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

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
from dreamfields.optimize import losses, schedules
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.textureless import TexturelessView
from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.compose import compose_views, crop_views, double, draw_augmentation
from dreamfields.render.renderer import Rendering


@dataclass(frozen=True)
class Target:
    """A guide and what it scores images against."""

    guidance: AbstractGuidance
    embeddings: PromptEmbeddings  # Of the prompt, its paraphrases and its azimuth prompts
    weight: float
    start: float = 0.0  # Fraction of the steps from which the guide takes part
    textureless: PromptEmbeddings | None = None
    """Of the same, for textureless views; None where the guide cannot score those."""
    geometry: PromptEmbeddings | None = None  # Of the geometry prompt, if there is one
    geometry_weight: float = 0.0  # Weight of the geometry prompt's score, relative to the prompt's


@dataclass(frozen=True)
class Objective:
    """The loss of one step, term by term."""

    terms: Mapping[str, Tensor]
    """Weighted terms by name, () each: the guidance's, then those of `losses.TERMS` that count at this step."""
    score: float  # Mean score of the views, in [-1, 1]
    fog: float  # Fog of the views, in [0, 1], whatever its weight

    def total(self) -> Tensor:
        """Return the sum of the terms in their order: ()."""
        return reduce(torch.add, self.terms.values())


def make_targets(
    guides: Sequence[Guide], template: str, prompt: str, prompts: PromptSettings | None = None
) -> list[Target]:
    """Embed the prompt, and the additional prompts, once for every guide."""
    prompts = prompts or PromptSettings()
    sentences, geometry_rows = prompt_sentences(prompt, prompts), geometry_sentences(prompts)
    targets = []
    for guidance, weight, start in ((guide.guidance, guide.weight, guide.start) for guide in guides):
        embeddings = embed_prompts(guidance, template, sentences, prompts)
        textureless = textureless_embeddings(guidance, embeddings)
        geometry = embed_prompts(guidance, template, geometry_rows, prompts) if geometry_rows else None
        # The user wants this prompt scored, so guides that are poor at textureless views score it as well.
        geometry = geometry and (textureless_embeddings(guidance, geometry) or geometry)
        targets.append(Target(guidance, embeddings, weight, start, textureless, geometry, prompts.geometry_weight))
    return targets


def evaluate_objective(
    rendering: Rendering,
    targets: Sequence[Target],
    context: StepContext,
    azimuths_deg: Sequence[float] = (),
    geometry_view: TexturelessView | None = None,
) -> Objective:
    """Return the objective of a step's rendering (v, ...), and of the view that a geometry prompt is scored on, if any.

    The azimuth of each view may be left out where there are no azimuth prompts.
    """
    settings = context.recipe.losses
    guidance = guidance_losses(rendering, targets, context, azimuths_deg, geometry_view)
    inputs = losses.TermInputs(settings, context.progress, rendering, losses.fog(rendering.opacity))
    gated = losses.guidance_gate(inputs) * reduce(torch.add, guidance.values())
    return Objective(
        terms={"guidance": settings.guidance * gated, **losses.weighted_terms(inputs)},
        score=-float(guidance["views"].detach()),
        fog=float(inputs.fog.detach()),
    )


def guidance_losses(
    rendering: Rendering,
    targets: Sequence[Target],
    context: StepContext,
    azimuths_deg: Sequence[float] = (),
    geometry_view: TexturelessView | None = None,
) -> dict[str, Tensor]:
    """Return the guides' weighted mean loss of the "views", and of the "geometry" where there is a view for it: ()."""
    active = [i for i, target in enumerate(targets) if target.start <= context.progress]
    chosen = [active[context.step % len(active)]] if context.recipe.guidance.alternate else active
    # One guide in turn counts as much as all together: over a round, the mean is the weighted mean.
    total_weight = sum(targets[i].weight for i in active) * len(chosen) / len(active)
    paraphrase = draw_paraphrase(targets[0].embeddings.paraphrases, context)
    views, geometry = [], []
    for i in chosen:
        target, guidance = targets[i], targets[i].guidance
        wanted = target.embeddings.towards(paraphrase, azimuths_deg)
        views.append(target.weight * guidance_term(rendering, guidance, wanted, context, f"guide {i}"))
        if geometry_view is not None and target.geometry is not None:
            wanted = target.geometry.towards(0, [geometry_view.azimuth_deg])
            term = guidance_term(geometry_view.rendering, guidance, wanted, context, f"geometry {i}")
            geometry.append(target.geometry_weight * target.weight * term)
    named = {"views": views, "geometry": geometry}
    return {name: torch.stack(terms).sum() / total_weight for name, terms in named.items() if terms}


def draw_paraphrase(count: int, context: StepContext) -> int:
    """Draw which of several paraphrases a step is scored against."""
    return int(torch.randint(count, (), generator=context.generator("paraphrase"))) if count > 1 else 0


def guidance_term(
    rendering: Rendering, guidance: AbstractGuidance, wanted: Sequence[Tensor], context: StepContext, stream: str
) -> Tensor:
    """Return minus one guide's mean score over v k images: ().

    The embeddings (d,) wanted are one for each view or one for all; the stream is that of the images' draws.
    """
    settings = context.recipe.guidance
    sharpness = schedules.ramp(context.progress, *settings.sharpen)
    images = guide_images(rendering, guidance, context.recipe, context.generator(stream))
    scores = []
    for view, embedding in enumerate(wanted):
        # Views repeat in the same order for each background, so every len(wanted)-th image is of this view.
        score = partial(guidance.score, text_embedding=embedding, sharpness=sharpness)
        scores.append(score_in_parts(score, images[view :: len(wanted)], settings.batch_size))
    return losses.guidance_loss(torch.cat(scores))


def guide_images(
    rendering: Rendering, guidance: AbstractGuidance, recipe: Recipe, generator: torch.Generator
) -> Tensor:
    """Return the images that a guide scores for v views: (v k, 3, size, size) in [0, 1]."""
    if recipe.augment.crop:
        return crop_and_compose(rendering, recipe, draw_size(guidance, generator), generator)
    count = len(rendering.colour) * recipe.optimize.backgrounds
    backgrounds = draw_backgrounds(recipe.backgrounds, count, rendering.colour.shape[-1], generator)
    augmentation = draw_augmentation(count, draw_size(guidance, generator), recipe.augment, generator)
    twice = recipe.backgrounds.compositing == "double"
    return compose_views(double(rendering) if twice else rendering, backgrounds, augmentation)


def crop_and_compose(rendering: Rendering, recipe: Recipe, size: int, generator: torch.Generator) -> Tensor:
    """Put crops of views, resized to a guide's size, on new backgrounds of that size: (v k, 3, size, size)."""
    cut = crop_views(rendering, recipe.augment.crop, recipe.optimize.backgrounds, size, generator)
    if recipe.backgrounds.compositing == "double":
        cut = double(cut)
    return cut.over(draw_backgrounds(recipe.backgrounds, len(cut.colour), size, generator, cut.colour.device))


def draw_size(guidance: AbstractGuidance, generator: torch.Generator) -> int:
    """Draw one of the image sizes that a guidance accepts."""
    sizes = guidance.image_sizes
    return sizes[int(torch.randint(len(sizes), (), generator=generator))]
