"""CLIP guidance: a frozen joint image-text model of transformers, with gradients with respect to the pixels.

CLIP (Radford et al., ICML 2021) guides Dream Fields. The same class takes SigLIP and SigLIP 2 (Zhai et al., ICCV 2023;
Tschannen et al., 2025), MetaCLIP, and any VisionTextDualEncoder. Weights come from a folder or the cache (`hub.py`).
"""

import bisect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, final

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import MissingPackageError, UsageError
from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.guidance.clip import hub
from dreamfields.guidance.clip.preprocess import Preprocessing, read_preprocessing
from dreamfields.guidance.ensemble import Member
from dreamfields.guidance.kinds import JudgeMode
from dreamfields.guidance.settings import GuidanceSettings, Precision

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@final
class ClipGuidance(AbstractGuidance):
    """An image and a text tower of transformers with one joint embedding space."""

    def __init__(self, model: Any, tokenizer: Any, preprocessing: Preprocessing, name: str = "clip") -> None:
        """Freeze a CLIPModel, SiglipModel, Siglip2Model, MetaClip2Model or VisionTextDualEncoderModel of any dtype."""
        super().__init__()
        self.model, self.tokenizer, self.preprocessing = model, tokenizer, preprocessing
        self.name = name
        self.image_size = preprocessing.size
        self.kind = str(model.config.model_type)
        self.longest = min(int(tokenizer.model_max_length), int(model.config.text_config.max_position_embeddings))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of n sentences, each truncated to the tokens that the model takes."""
        tokens = self._tokens(list(sentences)).to(self.model.device)
        return functional.normalize(_pooled(self.model.get_text_features(**tokens)).float(), dim=-1)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return unit embeddings (b, d) of images (b, 3, h, w) in [0, 1], differentiably."""
        prepared = self.preprocessing(images.float()).to(self.model.dtype)
        inputs = self._patches(prepared) if self.kind == "siglip2" else {"pixel_values": prepared}
        return functional.normalize(_pooled(self.model.get_image_features(**inputs)).float(), dim=-1)

    def unread_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words at the end of a sentence that truncation cuts off, in whole or in part."""
        words = sentence.split()

        def tokens(count: int) -> int:
            return len(self.tokenizer(self._spelling(" ".join(words[:count])), verbose=False)["input_ids"])

        fitting = bisect.bisect_right(range(len(words) + 1), self.longest, key=tokens) - 1
        return tuple(words[max(fitting, 0) :])

    def unknown_words(self, sentence: str) -> tuple[str, ...]:
        """Return the words of a sentence that the tokenizer has no tokens for; one that spells bytes has them all."""
        tokenizer, unknown = self.tokenizer, self.tokenizer.unk_token_id
        # A tokenizer of bytes needs no unknown token, and names another one for it.
        if unknown is None or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
            return ()

        def tokens(word: str) -> list[int]:
            found: list[int] = tokenizer(self._spelling(word), add_special_tokens=False)["input_ids"]
            return found

        return tuple(word for word in sentence.split() if unknown in tokens(word))

    def _tokens(self, sentences: list[str]) -> Any:
        """Return the inputs of the text tower, padded as it was trained."""
        siglip = self.kind.startswith("siglip")
        texts, padding = [self._spelling(sentence) for sentence in sentences], "max_length" if siglip else True
        tokens = self.tokenizer(texts, padding=padding, truncation=True, max_length=self.longest, return_tensors="pt")
        if siglip:
            # SigLIPs were trained to attend to all 64 tokens, padding included.
            tokens.pop("attention_mask", None)
        if self.kind != "vision-text-dual-encoder":
            tokens.pop("token_type_ids", None)
        return tokens

    def _spelling(self, sentence: str) -> str:
        """Return a sentence as the model was trained on it: SigLIPs on lower case, which not every tokenizer makes."""
        return sentence.lower() if self.kind.startswith("siglip") else sentence

    def _patches(self, prepared: Tensor) -> dict[str, Tensor]:
        """Return the inputs of an image tower that takes patches (b, n, p p 3) instead of images (b, 3, h, w)."""
        count, side = len(prepared), self.model.config.vision_config.patch_size
        rows, columns = prepared.shape[-2] // side, prepared.shape[-1] // side
        cut = prepared.view(count, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
        whole = torch.ones(count, rows * columns, dtype=torch.long, device=prepared.device)
        shapes = torch.tensor([[rows, columns]], device=prepared.device).expand(count, 2)
        patches = cut.reshape(count, rows * columns, 3 * side * side)
        return {"pixel_values": patches, "pixel_attention_mask": whole, "spatial_shapes": shapes}


def load_guides(member: Member, settings: GuidanceSettings, device: torch.device) -> list[Guide]:
    """Load one guide at the settings' precision; raises what `load_clip` raises."""
    return [Guide(load_clip(member, settings.precision).to(device))]


def load_judge(member: Member, _: JudgeMode, device: torch.device) -> ClipGuidance:
    """Load a judge at full precision; raises what `load_clip` raises."""
    return load_clip(member, "fp32").to(device)


def load_clip(member: Member, precision: Precision) -> ClipGuidance:
    """Load the model of a member from its folder or the cache.

    Raises MissingPackageError: it is missing or not the recorded one; UsageError: it is no model that can guide.
    """
    located = hub.locate(member.model_id)
    files = hub.checked_digests(located)
    preprocessing = read_preprocessing(located.folder, hub.read_json(located.folder / "config.json"))
    model, tokenizer = _load(located.folder, _DTYPES[precision])
    guidance = ClipGuidance(model, tokenizer, preprocessing, member.label)
    guidance.identity = hub.identity(files)
    return guidance


def _load(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Load model and tokenizer of a folder, without the progress bars and warnings of transformers."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model, report = AutoModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except ImportError as error:
        raise MissingPackageError(
            f"the tokenizer in {folder} needs packages that are not installed; run: pip install sentencepiece protobuf"
        ) from error
    except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"the model in {folder} cannot be loaded: {reason[0]}; copy or download it again") from error
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
    # transformers itself would fill missing weights with random numbers.
    if lacking := sorted({*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}):
        raise UsageError(
            f"the weights in {folder} lack {lacking[0]} and {len(lacking) - 1} more; copy or download it again"
        )
    if len(tokenizer) > (vocabulary := model.config.text_config.vocab_size):
        raise UsageError(
            f"the tokenizer in {folder} knows {len(tokenizer)} tokens, its model {vocabulary}; download it again"
        )
    return model, tokenizer


def _pooled(features: Any) -> Tensor:
    """Return the embeddings (n, d) alone: transformers 5 wraps the tensor."""
    return features if isinstance(features, Tensor) else cast(Tensor, features.pooler_output)
