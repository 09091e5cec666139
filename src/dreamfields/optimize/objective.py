"""The objective of a step: its views on backgrounds, augmented, scored by every guide, and the other terms of the loss.

Notation: v views, k backgrounds a view. Each guide scores v k images a step, with its own backgrounds and
augmentations, and with a geometry prompt k more of one textureless view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Generator, Tensor

from dreamfields.guidance import prompt_embeddings
from dreamfields.guidance.base import AbstractGuidance, Guide, Sides
from dreamfields.guidance.chunked import score_in_parts
from dreamfields.guidance.prompt_embeddings import PromptEmbeddings, embed_prompts, textureless_embeddings, with_sides
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize import losses, schedules
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.start import Begun
from dreamfields.optimize.textureless import TexturelessView
from dreamfields.render.backgrounds import draw_backgrounds
from dreamfields.render.compose import compose_views, crop_views, double, draw_augmentation, in_grey
from dreamfields.render.renderer import Rendering
from dreamfields.reprs import short_repr


@dataclass(frozen=True)
class Target:
    """A guide and what it scores images against."""

    guidance: AbstractGuidance
    embeddings: PromptEmbeddings  # Of the prompt, its paraphrases and its azimuth prompts
    weight: float
    start: float = 0.0  # Fraction of the steps from which the guide is used
    textureless: PromptEmbeddings | None = None  # Of the same, for textureless views; None if it cannot score those
    geometry: PromptEmbeddings | None = None  # Of the geometry prompt, if there is one
    geometry_weight: float = 0.0  # Weight of the geometry prompt's score, relative to the prompt's

    __repr__ = short_repr


@dataclass(frozen=True)
class Objective:
    """The loss of one step, term by term."""

    terms: Mapping[str, Tensor]  # Weighted, () each: "guidance", then those of `losses.TERMS` at this step
    score: float  # Mean score of the views, in [-1, 1]
    fog: float  # Fog of the views, in [0, 1], whatever its weight

    __repr__ = short_repr

    def total(self) -> Tensor:
        """Return the sum of the terms in their order: ()."""
        return reduce(torch.add, self.terms.values())


def make_targets(
    guides: Sequence[Guide],
    template: str,
    prompt: str,
    prompts: PromptSettings | None = None,
    *,
    from_shape: bool = False,
) -> list[Target]:
    """Embed the prompt and the additional prompts, once for every guide; see `has_front` for `from_shape`."""
    prompts = prompts or PromptSettings()
    sentences = prompt_embeddings.prompt_sentences(prompt, prompts)
    of_geometry = prompt_embeddings.geometry_sentences(prompts)
    targets = []
    for guidance, weight, start in ((guide.guidance, guide.weight, guide.start) for guide in guides):
        embeddings = embed_prompts(guidance, template, sentences, prompts)
        embeddings = with_sides(embeddings, guidance, prompt, prompts, from_shape=from_shape)
        textureless = textureless_embeddings(guidance, embeddings)
        geometry = embed_prompts(guidance, template, of_geometry, prompts) if of_geometry else None
        # The user gave this prompt, so guides that score textureless views poorly score it too.
        geometry = geometry and (textureless_embeddings(guidance, geometry) or geometry)
        targets.append(Target(guidance, embeddings, weight, start, textureless, geometry, prompts.geometry_weight))
    return targets


def evaluate_objective(
    rendering: Rendering,
    targets: Sequence[Target],
    context: StepContext,
    azimuths_deg: Sequence[float] = (),
    geometry_view: TexturelessView | None = None,
    begun: Begun | None = None,
) -> Objective:
    """Return the objective of a step's views (v, ...) and, with a geometry prompt, of the view that it is scored on.

    The views' azimuths are needed for azimuth prompts and sides only. `begun` is None if the field began as a blob.
    """
    active = [i for i, target in enumerate(targets) if target.start <= context.progress]
    chosen = [active[context.step % len(active)]] if context.recipe.guidance.alternate else active
    # Scaled so that the mean over a round of single guides is the weighted mean of all.
    total_weight = sum(targets[i].weight for i in active) * len(chosen) / len(active)
    paraphrase = draw_paraphrase(targets[0].embeddings.paraphrases, context)
    views, scores, geometry = [], [], []
    for i in chosen:
        target, guidance = targets[i], targets[i].guidance
        wanted = target.embeddings.towards(paraphrase, azimuths_deg), target.embeddings.sides_towards(azimuths_deg)
        loss, score = guide_loss(rendering, guidance, *wanted, context, f"guide {i}")
        views.append(target.weight * loss)
        scores.append(target.weight * score)
        if geometry_view is not None and target.geometry is not None:
            sentences = target.geometry.towards(0, [geometry_view.azimuth_deg])
            loss, _ = guide_loss(geometry_view.rendering, guidance, sentences, None, context, f"geometry {i}")
            geometry.append(target.geometry_weight * target.weight * loss)
    means = [torch.stack(terms).sum() / total_weight for terms in (views, geometry) if terms]

    settings, fog = context.recipe.losses, losses.fog(rendering.opacity)
    inputs = losses.TermInputs(settings, context.progress, rendering, fog, begun.transmittance if begun else None)
    guidance_term = settings.guidance * (losses.guidance_gate(inputs) * reduce(torch.add, means))
    terms = {
        "guidance": guidance_term,
        **({} if begun is None else {"start": begun.pull}),
        **losses.weighted_terms(inputs),
    }
    return Objective(terms, score=float(torch.stack(scores).sum() / total_weight), fog=float(fog.detach()))


def draw_paraphrase(count: int, context: StepContext) -> int:
    """Draw the index of the paraphrase that a step is scored against."""
    return int(torch.randint(count, (), generator=context.generator("paraphrase"))) if count > 1 else 0


def guide_loss(
    rendering: Rendering,
    guidance: AbstractGuidance,
    sentences: Sequence[Tensor],
    sides: Sides | None,
    context: StepContext,
    stream: str,
) -> tuple[Tensor, Tensor]:
    """Return the loss of one guide, (), and its mean score of v k images for their sentences alone, (), detached.

    `sentences` are the embeddings wanted of each view, or one for all; `sides` has a row for each view.
    """
    settings, generator = context.recipe.guidance, context.generator(stream)
    images = guide_images(rendering, guidance, context.recipe, generator)
    if sides is not None:
        images, sides = ask_for_sides(images, sides, generator)
    sharpness = schedules.ramp(context.progress, *settings.sharpen)
    alone: list[Tensor] = []  # Scores without what sides add

    def scores(first: int, sentence: Tensor) -> Tensor:
        # Views repeat in the same order for each background, so every len(sentences)-th image is of the same view.
        of_view = slice(first, None, len(sentences))
        asked = sides and sides.of(of_view)

        def score(shown: Tensor, which: slice) -> Tensor:
            if asked is None:
                found = total = guidance.score(shown, sentence, sharpness)
            else:
                found, told = guidance.sided_score(shown, sentence, asked.of(which), sharpness)
                total = found + told
            alone.append(found.detach())
            return total

        return score_in_parts(score, images[of_view], settings.batch_size)

    loss = losses.guidance_loss(torch.cat([scores(first, sentence) for first, sentence in enumerate(sentences)]))
    return loss, torch.cat(alone).mean()


def ask_for_sides(images: Tensor, sides: Sides, generator: Generator) -> tuple[Tensor, Sides]:
    """Return v k images, half of them in grey, and what is asked of each: sides of the grey ones, nothing of others.

    In colour a front would become yellow and a back blue, for that is what guides take them for; and in grey alone an
    object would get no colours. `sides` has a row for each of the v views. Of one background a view, all images of a
    step are grey or none is.
    """
    views = len(sides.seen)
    first = int(torch.randint(2, (), generator=generator))
    backgrounds = torch.arange(len(images), device=images.device) // views
    grey = (backgrounds + first) % 2 == 0
    seen = sides.seen.repeat(len(images) // views, 1) * grey[:, None]
    return torch.where(grey[:, None, None, None], in_grey(images), images), replace(sides, seen=seen)


def guide_images(rendering: Rendering, guidance: AbstractGuidance, recipe: Recipe, generator: Generator) -> Tensor:
    """Return the images that a guide scores for v views: (v k, 3, size, size) in [0, 1]."""
    if recipe.augment.crop:
        return crop_and_compose(rendering, recipe, draw_size(guidance, generator), generator)
    count = len(rendering.colour) * recipe.optimize.backgrounds
    backgrounds = draw_backgrounds(recipe.backgrounds, count, rendering.colour.shape[-1], generator)
    augmentation = draw_augmentation(count, draw_size(guidance, generator), recipe.augment, generator)
    is_double = recipe.backgrounds.compositing == "double"
    return compose_views(double(rendering) if is_double else rendering, backgrounds, augmentation)


def crop_and_compose(rendering: Rendering, recipe: Recipe, size: int, generator: Generator) -> Tensor:
    """Put crops of views, resized to a guide's size, on new backgrounds of that size: (v k, 3, size, size)."""
    cut = crop_views(rendering, recipe.augment.crop, recipe.optimize.backgrounds, size, generator)
    cut = double(cut) if recipe.backgrounds.compositing == "double" else cut
    return cut.over(draw_backgrounds(recipe.backgrounds, len(cut.colour), size, generator, cut.colour.device))


def draw_size(guidance: AbstractGuidance, generator: Generator) -> int:
    """Draw one of the image sizes that a guidance accepts."""
    sizes = guidance.image_sizes
    return sizes[int(torch.randint(len(sizes), (), generator=generator))]
