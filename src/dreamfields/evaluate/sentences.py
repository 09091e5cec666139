"""How well held-out views of an object match sentences, as a judge of sentences sees it.

The views are those of the judge of nouns: eight azimuths at elevation 45, each over white, grey and black. A judge that
guided must not be asked; see `retrieval.check_judge`.

Notation: v views, t sentences.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dreamfields.evaluate.classifier import BACKGROUNDS
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.render.renderer import Rendering


@torch.no_grad()
def similarities(judge: AbstractGuidance, views: Sequence[Rendering], sentences: Sequence[str]) -> Tensor:
    """Return cosines (v, t) of views and sentences, each the mean over the backgrounds."""
    texts = judge.encode_text(sentences)
    found = []
    for view in views:
        pictures = torch.cat([view.over(background) for background in BACKGROUNDS]).to(texts.device)
        found.append((judge.encode_image(pictures) @ texts.T).mean(dim=0))
    return torch.stack(found).cpu()
