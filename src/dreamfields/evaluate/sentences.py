"""How well held-out views of an object match sentences.

The views are those of the classifier: eight azimuths at elevation 45, each over white, grey and black. The judge must
not have guided; see `judges.check_judge`.

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
    cosines = []
    for view in views:
        images = torch.cat([view.over(background) for background in BACKGROUNDS]).to(texts.device)
        cosines.append((judge.encode_image(images) @ texts.T).mean(dim=0))
    return torch.stack(cosines).cpu()
