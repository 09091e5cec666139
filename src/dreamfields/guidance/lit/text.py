"""The text tower: MiniLM-L6-v2 sentence embeddings, whose weights come as a package."""

import json
import zipfile
from collections.abc import Sequence
from typing import final

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.guidance.lit.weights import MINILM, check_digest, package_file

_BATCH = 64
_MAX_TOKENS = 256


@final
class SentenceEncoder(nn.Module):
    """Sentences in, unit embeddings (n, 384) out: mean-pooled tokens of a frozen six-layer transformer."""

    def __init__(self) -> None:
        """Load the installed package's model. Raises MissingPackageError: it is missing or not the pinned one."""
        super().__init__()
        path = package_file(MINILM)
        check_digest(path, MINILM)
        # Imported here because it takes seconds, which `toy` guidance need not pay.
        from transformers import BertConfig, BertModel

        with zipfile.ZipFile(path) as archive:
            self.tokenizer = Tokenizer.from_buffer(archive.read("tokenizer.json"))
            config = BertConfig(**json.loads(archive.read("config.json")))
            state = safetensors.torch.load(archive.read("model.safetensors"))
        self.tokenizer.enable_truncation(max_length=_MAX_TOKENS)
        self.tokenizer.enable_padding()
        self.model = BertModel(config, add_pooling_layer=False)
        self.model.load_state_dict({name: t for name, t in state.items() if name in self.model.state_dict()})
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, 384), in the order given."""
        return torch.cat([self._encode_batch(sentences[i : i + _BATCH]) for i in range(0, len(sentences), _BATCH)])

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that do not fit into the model's tokens, or not whole."""
        encoding = self.tokenizer.encode(sentence)
        if not encoding.overflowing:
            return ()
        read = max(end for _, end in encoding.offsets)
        # A word that was cut counts as unread, all of it.
        return tuple(sentence[sentence.rfind(" ", 0, read + 1) + 1 :].split())

    def _encode_batch(self, sentences: Sequence[str]) -> Tensor:
        encodings = self.tokenizer.encode_batch(list(sentences))
        tokens = torch.tensor([encoding.ids for encoding in encodings], device=self.model.device)
        mask = torch.tensor([encoding.attention_mask for encoding in encodings], device=self.model.device)
        states: Tensor = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        counted = mask[..., None].to(states.dtype)
        return functional.normalize((states * counted).sum(dim=1) / counted.sum(dim=1), dim=-1)
