"""Tiny models with random weights, of every shape that can guide, saved as their folders are: a few milliseconds each.

They know nothing; they test everything around the weights: folders, images, tokens, gradients.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

SIDE = 16
"""Pixels a side of their images."""
LONGEST = 12
"""Tokens of the longest sentence, its two marks included."""
WORDS = ("a", "photo", "of", "the", "red", "green", "blue", "ball", "teapot", "on", "table", "wooden", "big")

_TOWER: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_TEXT = _TOWER | {"vocab_size": 32, "max_position_embeddings": LONGEST, "pad_token_id": 0}
_TEXT |= {"bos_token_id": 1, "eos_token_id": 3}  # An end token of 2 has another meaning in a CLIP's configuration.
_IMAGE = _TOWER | {"image_size": SIDE, "patch_size": 8}


def tiny_tokenizer(lower: bool = True) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words with a start and an end token; unknown words are one token."""
    vocabulary = {word: index for index, word in enumerate(("<pad>", "<s>", "<unk>", "</s>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 3)]
    )
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "unk_token": "<unk>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LONGEST, **marks)


def tiny_siglip2_tokenizer() -> Any:
    """Return a SigLIP 2 tokenizer, which transformers loads whatever a folder names: letters merged into words."""
    spelt = [f"{mark}{word}" for word in WORDS for mark in ("", "\N{LOWER ONE EIGHTH BLOCK}")]
    merges: Any = dict.fromkeys((word[:i], word[i]) for word in spelt for i in range(1, len(word)))
    pieces = dict.fromkeys(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *"".join(spelt), *map("".join, merges)])
    return transformers.Siglip2Tokenizer(
        {piece: index for index, piece in enumerate(pieces)}, list(merges), model_max_length=LONGEST
    )


def _clip() -> tuple[Any, Any]:
    config = transformers.CLIPConfig(text_config=_TEXT, vision_config=_IMAGE, projection_dim=8)
    size = {"height": SIDE, "width": SIDE}
    return transformers.CLIPModel(config), CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)


def _metaclip_2() -> tuple[Any, Any]:
    config = transformers.MetaClip2Config(text_config=_TEXT, vision_config=_IMAGE, projection_dim=8)
    size = {"height": SIDE, "width": SIDE}
    return transformers.MetaClip2Model(config), CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=size)


def _siglip() -> tuple[Any, Any]:
    config = transformers.SiglipConfig(text_config=_TEXT | {"projection_size": 16}, vision_config=_IMAGE)
    return transformers.SiglipModel(config), SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _siglip2() -> tuple[Any, Any]:
    image = _TOWER | {"patch_size": 8, "num_patches": 4}
    text = _TEXT | {"projection_size": 16, "vocab_size": 256}
    config = transformers.Siglip2Config(text_config=text, vision_config=image)
    return transformers.Siglip2Model(config), Siglip2ImageProcessorPil(patch_size=8, max_num_patches=4)


def _lit() -> tuple[Any, Any]:
    config = transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.ViTConfig(**_IMAGE), transformers.BertConfig(**_TEXT), projection_dim=8
    )
    return transformers.VisionTextDualEncoderModel(config), ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})


SHAPES: Mapping[str, Callable[[], tuple[Any, Any]]] = MappingProxyType(
    {"clip": _clip, "metaclip_2": _metaclip_2, "siglip": _siglip, "siglip2": _siglip2, "lit": _lit}
)


def make_folder(folder: Path, shape: str = "clip", seed: int = 0) -> Path:
    """Save a model of a shape, its tokenizer and its image processor, and return the folder."""
    torch.manual_seed(seed)
    model, processor = SHAPES[shape]()
    with torch.no_grad():
        for parameter in model.parameters():
            # The default weights are so small that all embeddings are nearly the same.
            parameter.copy_(torch.randn_like(parameter) * (0.5 if parameter.ndim < 2 else 0.4))
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    if shown:
        transformers.utils.logging.enable_progress_bar()
    tokenizer = tiny_siglip2_tokenizer() if shape == "siglip2" else tiny_tokenizer(lower=shape != "siglip")
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
