"""Embeddings of a prompt in a guide's joint space, by paraphrase and by azimuth, pushed away from a negative prompt.

Notation: p paraphrases, the prompt included; k wordings by azimuth; d dimensions of the joint space; e (d,) the unit
embedding of a sentence, n (d,) that of the negative prompt and omega its weight; w_j(phi) the weight of wording j at
azimuth phi (`prompts.azimuth_weights`); a division by |.| normalises to length 1.

    n_perp = n - (n e) e                 the part of n that is orthogonal to e
    e'     = (e - omega n_perp) / |.|    Perp-Neg (Armandpour et al. 2023)
    e(phi) = (sum_j w_j(phi) e'_j) / |.|

The sentences that say from which side a thing is seen are embedded apart: they are not mixed but told from one another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.base import AbstractGuidance, Sides, mean_direction
from dreamfields.guidance.prompts import (
    azimuth_weights,
    fill_template,
    fill_wordings,
    parse_azimuth_prompts,
    side_sentences,
    sides_seen,
)
from dreamfields.guidance.settings import PromptSettings
from dreamfields.reprs import short_repr

Sentences = tuple[tuple[str, ...], ...]  # p times k sentences, before they are put into a template


@dataclass(frozen=True)
class PromptEmbeddings:
    """The embedding of each paraphrase and each wording by azimuth."""

    table: Tensor  # (p, k, d) unit vectors
    anchors_deg: tuple[float, ...] = (0.0,)
    """Azimuths at which the weight of each of the k wordings is 1, rising, in [0, 360)."""
    sides: Tensor | None = None  # (s, d): a direction for each of `prompts.SIDES`; see `base.Sides`
    side_weight: float = 0.0  # Of telling these; see `base.Sides`

    __repr__ = short_repr

    @property
    def paraphrases(self) -> int:
        """Return p."""
        return len(self.table)

    def towards(self, paraphrase: int, azimuths_deg: Sequence[float]) -> list[Tensor]:
        """Return the embedding (d,) wanted at each azimuth; only one where that is the same at all of them."""
        wordings = self.table[paraphrase]
        # One wording is not blended with itself, which could change the last bit.
        if len(wordings) == 1:
            return [wordings[0]]
        weights = [wordings.new_tensor(azimuth_weights(azimuth, self.anchors_deg)) for azimuth in azimuths_deg]
        return [functional.normalize(one @ wordings, dim=0) for one in weights]

    def sides_towards(self, azimuths_deg: Sequence[float]) -> Sides | None:
        """Return which sides v views should show, with (v, s) seen; None where none are asked for."""
        if self.sides is None:
            return None
        return Sides(self.sides, self.sides.new_tensor([sides_seen(one) for one in azimuths_deg]), self.side_weight)


def prompt_sentences(prompt: str, prompts: PromptSettings) -> Sentences:
    """Return the sentences for images with colours: of the prompt, then of each paraphrase."""
    subjects = (prompt, *prompts.paraphrases)
    if prompts.style:
        subjects = tuple(f"{subject.rstrip('.')}, {prompts.style}" for subject in subjects)
    return tuple(_by_azimuth(subject, prompts) for subject in subjects)


def geometry_sentences(prompts: PromptSettings) -> Sentences:
    """Return the sentences of the geometry prompt, for textureless images; empty without one."""
    return (_by_azimuth(prompts.geometry_prompt, prompts),) if prompts.geometry_prompt else ()


def asks_for_sides(
    guidance: AbstractGuidance, prompt: str, prompts: PromptSettings, *, from_shape: bool = False
) -> bool:
    """Return whether a guide is asked for the sides of a prompt; `from_shape` says whether the run began as a shape."""
    if prompts.sides == "auto":
        return not prompts.azimuth_prompts and guidance.has_front(prompt, from_shape=from_shape)
    return prompts.sides == "always"


def all_sentences(template: str, prompt: str, prompts: PromptSettings, sides: bool) -> list[str]:
    """Return every sentence that a guide has to encode; `sides` says whether it is asked for these."""
    sentences = (*prompt_sentences(prompt, prompts), *geometry_sentences(prompts))
    texts = [text for wordings in sentences for text in wordings]
    texts += [prompts.negative_prompt] * bool(prompts.negative_prompt)
    filled = [sentence for text in texts for sentence in fill_wordings(template, text)]
    return [*filled, *(side_sentences(prompt) if sides else ())]


def with_sides(
    embeddings: PromptEmbeddings,
    guidance: AbstractGuidance,
    prompt: str,
    prompts: PromptSettings,
    *,
    from_shape: bool = False,
) -> PromptEmbeddings:
    """Return embeddings that ask for the sides of a prompt as well; the same ones where they are not asked for.

    The sentences of the sides go without the template: they say by themselves what is seen.
    """
    if not asks_for_sides(guidance, prompt, prompts, from_shape=from_shape):
        return embeddings
    return replace(embeddings, sides=guidance.encode_sides(prompt), side_weight=prompts.side_weight)


def embed_prompts(
    guidance: AbstractGuidance, template: str, sentences: Sentences, prompts: PromptSettings
) -> PromptEmbeddings:
    """Embed sentences, each as the mean over the template's wordings, pushed away from the negative prompt."""

    def embed(text: str) -> Tensor:
        return mean_direction(guidance.encode_text(fill_wordings(template, text)))

    table = torch.stack([torch.stack([embed(text) for text in wordings]) for wordings in sentences])
    # Skipped at weight 0, because it could change the last bit.
    if prompts.negative_prompt and prompts.negative_weight > 0.0:
        table = push_away(table, embed(prompts.negative_prompt), prompts.negative_weight)
    return PromptEmbeddings(table, tuple(one.azimuth_deg for one in parse_azimuth_prompts(prompts.azimuth_prompts)))


def textureless_embeddings(guidance: AbstractGuidance, embeddings: PromptEmbeddings) -> PromptEmbeddings | None:
    """Return the embeddings for textureless images; None where the guidance has none for one of the sentences."""
    flat = [guidance.textureless_embedding(one) for wordings in embeddings.table for one in wordings]
    known = [one for one in flat if one is not None]
    return replace(embeddings, table=torch.stack(known).view_as(embeddings.table)) if len(known) == len(flat) else None


def orthogonal_part(vector: Tensor, embeddings: Tensor) -> Tensor:
    """Return v - (v e) e, (..., d), of a vector (d,) for each of the unit vectors e (..., d)."""
    return vector - (embeddings @ vector)[..., None] * embeddings


def push_away(embeddings: Tensor, negative: Tensor, weight: float) -> Tensor:
    """Return the unit vectors along e - weight n_perp, (..., d), of unit vectors e (..., d) and n (d,)."""
    return functional.normalize(embeddings - weight * orthogonal_part(negative, embeddings), dim=-1)


def _by_azimuth(subject: str, prompts: PromptSettings) -> tuple[str, ...]:
    return tuple(fill_template(one.wording, subject) for one in parse_azimuth_prompts(prompts.azimuth_prompts))
