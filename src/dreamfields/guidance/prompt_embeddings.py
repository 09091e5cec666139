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

from dreamfields.guidance.azimuth_prompts import azimuth_weights, parse_views
from dreamfields.guidance.base import AbstractGuidance, mean_direction
from dreamfields.guidance.prompts import fill_template, fill_wordings, with_style
from dreamfields.guidance.settings import PromptSettings

Sentences = tuple[tuple[str, ...], ...]
"""p rows of k sentences, before they are put into a template."""


@dataclass(frozen=True)
class Directions:
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


def prompt_sentences(prompt: str, asked: PromptSettings) -> Sentences:
    """Return what is asked of pictures in colour: a row for the prompt and one for each paraphrase."""
    subjects = [with_style(text, asked.style) for text in (prompt, *asked.paraphrases)]
    return tuple(_from_all_sides(subject, asked) for subject in subjects)


def geometry_sentences(asked: PromptSettings) -> Sentences:
    """Return what is asked of the shape alone: one row, or none."""
    return (_from_all_sides(asked.geometry_prompt, asked),) if asked.geometry_prompt else ()


def all_sentences(template: str, prompt: str, asked: PromptSettings) -> list[str]:
    """Return every sentence that a guide has to read, as it is put to it."""
    rows = (*prompt_sentences(prompt, asked), *geometry_sentences(asked))
    texts = [text for row in rows for text in row] + [asked.negative_prompt] * bool(asked.negative_prompt)
    return [sentence for text in texts for sentence in fill_wordings(template, text)]


def find_directions(guidance: AbstractGuidance, template: str, rows: Sentences, asked: PromptSettings) -> Directions:
    """Embed rows of sentences, each put into all wordings of the template, and lead them off the negative prompt."""

    def embed(text: str) -> Tensor:
        return mean_direction(guidance.encode_text(fill_wordings(template, text)))

    table = torch.stack([torch.stack([embed(text) for text in row]) for row in rows])
    # Without weight nothing is computed, as the last bit would not survive it.
    if asked.negative_prompt and asked.negative_weight > 0.0:
        table = push_away(table, embed(asked.negative_prompt), asked.negative_weight)
    return Directions(table, tuple(view.azimuth_deg for view in parse_views(asked.azimuth_prompts)))


def for_plaster(guidance: AbstractGuidance, directions: Directions) -> Directions | None:
    """Return what takes their place where pictures are in plaster; None where the guidance cannot read one of them."""
    flat = [guidance.towards_plaster(one) for row in directions.table for one in row]
    read = [one for one in flat if one is not None]
    return replace(directions, table=torch.stack(read).view_as(directions.table)) if len(read) == len(flat) else None


def orthogonal_part(vector: Tensor, directions: Tensor) -> Tensor:
    """Return v - (v e) e, (..., d), of a vector (d,) for each of the unit vectors e (..., d)."""
    return vector - (directions @ vector)[..., None] * directions


def push_away(directions: Tensor, negative: Tensor, weight: float) -> Tensor:
    """Return the unit vectors along e - weight n_perp, (..., d), of unit vectors e (..., d) and n (d,)."""
    return functional.normalize(directions - weight * orthogonal_part(negative, directions), dim=-1)


def _from_all_sides(subject: str, asked: PromptSettings) -> tuple[str, ...]:
    return tuple(fill_template(view.wording, subject) for view in parse_views(asked.azimuth_prompts))
