"""MiniLM-L6, the frozen text tower: a BERT encoder (Devlin et al., 2019) of six layers, as one function of its weights.

transformers has the same model, which is the reference in the tests; importing it takes seconds, as long as all else
that a run loads before its first step.

Notation: n sentences of t tokens, padding included; hidden states x (n, t, d); h heads of d / h dimensions.

    x = norm(x + W_o softmax(q k^T / sqrt(d / h)) v + b_o)     q, k, v = W x + b of each head, over unpadded tokens
    x = norm(x + W_2 gelu(W_1 x + b_1) + b_2)
"""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn
from torch.nn import functional

_PREFIXES = ("embeddings.", "encoder.")  # Of the weights that the hidden states depend on; there is a pooler besides


@final
class MiniLm(nn.Module):
    """The encoder with its weights under the names that they are published under."""

    def __init__(self, weights: Mapping[str, Tensor], layers: int, heads: int, epsilon: float) -> None:
        """Keep the weights, those of other heads left out; `epsilon` is added to variances by the norms."""
        super().__init__()
        self.layers, self.heads, self.epsilon = layers, heads, epsilon
        for name, weight in weights.items():
            *path, last = name.split(".")
            if name.startswith(_PREFIXES) and last != "position_ids":
                self._module(path).register_buffer(last, weight)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the last hidden states (n, t, d) of tokens (n, t), where mask (n, t) is 1; 0 is padding."""
        x = functional.embedding(ids, self._weight("embeddings.word_embeddings"))
        x = x + self._weight("embeddings.token_type_embeddings")[0]
        x = x + self._weight("embeddings.position_embeddings")[: ids.shape[1]]
        x = self._norm(x, "embeddings.LayerNorm")
        allowed = mask.bool()[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        for index in range(self.layers):
            x = self._layer(x, allowed, f"encoder.layer.{index}")
        return x

    def _layer(self, x: Tensor, allowed: Tensor, name: str) -> Tensor:
        split = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        parts = (self._linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        q, k, v = (part.view(split).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v, allowed).transpose(1, 2).reshape(x.shape)
        x = self._joined(x, attended, f"{name}.attention.output")
        return self._joined(x, functional.gelu(self._linear(x, f"{name}.intermediate.dense")), f"{name}.output")

    def _joined(self, x: Tensor, update: Tensor, name: str) -> Tensor:
        return self._norm(self._linear(update, f"{name}.dense") + x, f"{name}.LayerNorm")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._weight(name), self.get_buffer(f"{name}.bias"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self._weight(name), self.get_buffer(f"{name}.bias"), self.epsilon)

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(f"{name}.weight")

    def _module(self, path: list[str]) -> nn.Module:
        """Return the module at a path, made where it is missing."""
        module: nn.Module = self
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        return module
