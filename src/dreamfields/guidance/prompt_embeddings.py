"""What pictures are to look like, as directions of a guide's space, by paraphrase and by azimuth.

Notation: p paraphrases, the prompt among them; k wordings by azimuth; d dimensions of the joint space; e (d,) the unit
embedding of one of these sentences, n (d,) that of the negative prompt and omega its weight; w_j(phi) how much a
wording counts at an azimuth phi (`views.azimuth_weights`); |.| whatever makes the vector before it one of length 1.

    n_perp = n - (n e) e                 what the negative prompt says besides the sentence
    e'     = (e - omega n_perp) / |.|    away from that alone (Perp-Neg, Armandpour et al. 2023)
    e(phi) = (sum_j w_j(phi) e'_j) / |.|
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.azimuth_prompts import azimuth_weights, parse_azimuth_prompts
from dreamfields.guidance.base import AbstractGuidance, mean_direction
from dreamfields.guidance.prompts import fill_template, fill_wordings, with_style
from dreamfields.guidance.settings import PromptSettings

Sentences = tuple[tuple[str, ...], ...]
"""p rows of k sentences, before they are put into a template."""


@dataclass(frozen=True)
class PromptEmbeddings:
    """Where a guide is led: a direction for each paraphrase and each wording by azimuth."""

    table: Tensor
    """(p, k, d) unit vectors."""
    anchors_deg: tuple[float, ...] = (0.0,)
    """Where each of the k wordings counts alone, rising, in [0, 360)."""

    @property
    def paraphrases(self) -> int:
        """Return p."""
        return len(self.table)

    def towards(self, paraphrase: int, azimuths_deg: Sequence[float]) -> list[Tensor]:
        """Return the unit vector (d,) for each azimuth; where all are the same, it alone."""
        row = self.table[paraphrase]
        # Not blended with itself, which would cost the last bit.
        return [row[0]] if len(row) == 1 else [self._blend(row, azimuth) for azimuth in azimuths_deg]

    def _blend(self, row: Tensor, azimuth_deg: float) -> Tensor:
        weights = torch.tensor(azimuth_weights(azimuth_deg, self.anchors_deg), dtype=row.dtype, device=row.device)
        return functional.normalize(weights @ row, dim=0)


def prompt_sentences(prompt: str, prompts: PromptSettings) -> Sentences:
    """Return what is asked of pictures in colour: a row for the prompt and one for each paraphrase."""
    subjects = [with_style(text, prompts.style) for text in (prompt, *prompts.paraphrases)]
    return tuple(_from_all_sides(subject, prompts) for subject in subjects)


def geometry_sentences(prompts: PromptSettings) -> Sentences:
    """Return what is asked of the shape alone: one row, or none."""
    return (_from_all_sides(prompts.geometry_prompt, prompts),) if prompts.geometry_prompt else ()


def all_sentences(template: str, prompt: str, prompts: PromptSettings) -> list[str]:
    """Return every sentence that a guide has to read, as it is put to it."""
    rows = (*prompt_sentences(prompt, prompts), *geometry_sentences(prompts))
    texts = [text for row in rows for text in row] + [prompts.negative_prompt] * bool(prompts.negative_prompt)
    return [sentence for text in texts for sentence in fill_wordings(template, text)]


def embed_prompts(
    guidance: AbstractGuidance, template: str, rows: Sentences, prompts: PromptSettings
) -> PromptEmbeddings:
    """Embed rows of sentences, each put into all wordings of the template, and lead them off the negative prompt."""

    def embed(text: str) -> Tensor:
        return mean_direction(guidance.encode_text(fill_wordings(template, text)))

    table = torch.stack([torch.stack([embed(text) for text in row]) for row in rows])
    # Without weight nothing is computed, as the last bit would not survive it.
    if prompts.negative_prompt and prompts.negative_weight > 0.0:
        table = push_away(table, embed(prompts.negative_prompt), prompts.negative_weight)
    return PromptEmbeddings(table, tuple(view.azimuth_deg for view in parse_azimuth_prompts(prompts.azimuth_prompts)))


def textureless_embeddings(guidance: AbstractGuidance, embeddings: PromptEmbeddings) -> PromptEmbeddings | None:
    """Return what takes their place where pictures are in plaster; None where the guidance cannot read one of them."""
    flat = [guidance.textureless_embedding(one) for row in embeddings.table for one in row]
    read = [one for one in flat if one is not None]
    return replace(embeddings, table=torch.stack(read).view_as(embeddings.table)) if len(read) == len(flat) else None


def orthogonal_part(vector: Tensor, embeddings: Tensor) -> Tensor:
    """Return v - (v e) e, (..., d), of a vector (d,) for each of the unit vectors e (..., d)."""
    return vector - (embeddings @ vector)[..., None] * embeddings


def push_away(embeddings: Tensor, negative: Tensor, weight: float) -> Tensor:
    """Return the unit vectors along e - weight n_perp, (..., d), of unit vectors e (..., d) and n (d,)."""
    return functional.normalize(embeddings - weight * orthogonal_part(negative, embeddings), dim=-1)


def _from_all_sides(subject: str, prompts: PromptSettings) -> tuple[str, ...]:
    return tuple(fill_template(view.wording, subject) for view in parse_azimuth_prompts(prompts.azimuth_prompts))
