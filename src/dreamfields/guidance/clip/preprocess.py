"""Differentiable preprocessing of images for a model: resize, crop, standardise.

Equal to the model's own image processor except for rounding: Pillow rounds to one of 256 levels after resizing the rows
and again after the columns; here nothing is rounded, so gradients pass. Pillow's filters widen when an image shrinks,
as torch's do with `antialias`; both have a = -0.5 in their cubic.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import UsageError
from dreamfields.guidance.clip.hub import read_json

Filter = Literal["bilinear", "bicubic"]
Triple = tuple[float, float, float]
_FILTERS: Mapping[int, Filter] = {2: "bilinear", 3: "bicubic"}  # By Pillow's numbers, as in preprocessor_config.json


@dataclass(frozen=True)
class Preprocessing:
    """How images become the input of a model."""

    size: int  # Pixels a side of the input
    mean: Triple  # Subtracted from the colours, which are in [0, 1]
    std: Triple  # Divides the colours then
    filter: Filter = "bicubic"  # For resizing
    shortest_edge: int | None = None
    """Pixels the shorter side is resized to before the centre crop; None resizes both sides to `size`."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return the model's input (b, 3, size, size) for images (b, 3, h, w) in [0, 1]."""
        height, width = images.shape[-2:]
        if self.shortest_edge is None:
            resized = self._resize(images, self.size, self.size)
        else:
            # The longer side is truncated to whole pixels, as in transformers' `get_resize_output_image_size`.
            sides = (int(self.shortest_edge * side / min(height, width)) for side in (height, width))
            resized = self._resize(images, *sides)
            top, left = ((side - self.size) // 2 for side in resized.shape[-2:])
            resized = resized[..., top : top + self.size, left : left + self.size]
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (resized - mean) / std

    def _resize(self, images: Tensor, height: int, width: int) -> Tensor:
        # A cubic overshoots at edges: Pillow clips after the rows, and again after the columns (in an image taller than
        # wide it may resize the columns first; images here are square).
        for size in ((images.shape[-2], width), (height, width)):
            if images.shape[-2:] != size:
                images = functional.interpolate(images, size, mode=self.filter, antialias=True).clamp(0.0, 1.0)
        return images


CLIP_PREPROCESSING = Preprocessing(
    224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), shortest_edge=224
)
"""The preprocessing of every CLIP that OpenAI published (github.com/openai/CLIP, clip.py)."""


def read_preprocessing(folder: Path, config: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that a model's folder describes, given its config.json.

    Raises UsageError: the folder describes none and the model is no CLIP, or it cannot be done here.
    """
    values = _processor_config(folder)
    kind, input_size = config.get("model_type"), config.get("vision_config", {}).get("image_size")
    if values is None:
        if kind not in ("clip", "metaclip_2"):
            raise UsageError(f"{folder} does not say how its images are prepared; add its preprocessor_config.json")
        side = int(input_size or CLIP_PREPROCESSING.size)
        return replace(CLIP_PREPROCESSING, size=side, shortest_edge=side)
    try:
        preprocessing = _parse(values)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"the preprocessor_config.json of {folder} cannot be followed: {error!r}; copy or download the model again"
        ) from error
    if kind != "siglip2" and input_size is not None and preprocessing.size != input_size:
        raise UsageError(
            f"{folder} prepares images of {preprocessing.size} pixels for a model that takes {input_size}; "
            "copy or download the model again"
        )
    return preprocessing


def _processor_config(folder: Path) -> dict[str, Any] | None:
    """Return the image processor's configuration; newer folders nest it in that of the whole processor."""
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "preprocessor_config.json")
    outer = read_json(folder / "processor_config.json") if (folder / "processor_config.json").is_file() else {}
    inner = outer.get("image_processor")
    return inner if isinstance(inner, dict) else None


def _parse(values: Mapping[str, Any]) -> Preprocessing:
    # The colours of the processor are `scale` times ours, which are in [0, 1].
    scale = float(values.get("rescale_factor", 1 / 255)) * 255 if values.get("do_rescale", True) else 255.0
    standardised = values.get("do_normalize", True)
    mean = _triple(values["image_mean"] if standardised else (0.0, 0.0, 0.0), scale)
    std = _triple(values["image_std"] if standardised else (1.0, 1.0, 1.0), scale)
    size, edge = _sizes(values)
    return Preprocessing(size, mean, std, _FILTERS[int(values["resample"])], edge)


def _sizes(values: Mapping[str, Any]) -> tuple[int, int | None]:
    """Return `size` and `shortest_edge` of the preprocessing."""
    if "max_num_patches" in values:
        # Any number of patches up to a maximum: the largest square that fits.
        return int(values["max_num_patches"] ** 0.5 + 1e-6) * int(values["patch_size"]), None
    size, crop = values["size"], values["crop_size"] if values.get("do_center_crop", False) else None
    if isinstance(size, dict) and "shortest_edge" not in size:
        edge, side = None, _square(size)
        if crop is not None and _square(crop) != side:
            raise ValueError("both sides are resized, and then cut")
    else:
        edge = int(size["shortest_edge"] if isinstance(size, dict) else size)
        side = edge if crop is None else _square(crop)
        if side > edge:
            raise ValueError("more is cut out than there is")
    # An old file has a bare number, which means both sides if there is no crop.
    return side, None if crop is None and not isinstance(size, dict) else edge


def _square(size: Any) -> int:
    if isinstance(size, int):
        return size
    if size["height"] != size["width"]:
        raise ValueError("images are not square")
    return int(size["height"])


def _triple(values: Any, scale: float) -> Triple:
    red, green, blue = (float(value) / scale for value in values)
    return red, green, blue
