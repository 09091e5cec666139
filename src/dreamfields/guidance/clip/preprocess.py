"""What a model does to pictures before it looks, differentiably: resize, crop, standardise.

Equal to the model's own image processor but for rounding: processors resize pictures of 256 levels with Pillow, which
rounds to a level after the rows and again after the columns; here nothing is rounded, so gradients pass. Pillow's
filters widen when a picture shrinks, and so do torch's with `antialias`; both have a = -0.5 in their cubic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import UsageError
from dreamfields.guidance.clip.folders import read_json

Filter = Literal["bilinear", "bicubic"]
Triple = tuple[float, float, float]

# Pillow's numbers of its filters, as preprocessor_config.json has them.
_FILTERS: Mapping[int, Filter] = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become what a model looks at."""

    size: int
    """Pixels a side of what it looks at."""
    mean: Triple
    """Of the colours, in [0, 1]; taken away."""
    std: Triple
    """Of the colours; divided by."""
    filter: Filter = "bicubic"
    """How pictures are resized."""
    shortest_edge: int | None = None
    """Pixels the shorter side is resized to before the middle is cut out; None resizes both sides to `size`."""

    def __call__(self, images: Tensor) -> Tensor:
        """Return what the model looks at, (b, 3, size, size), of pictures (b, 3, h, w) in [0, 1]."""
        height, width = images.shape[-2:]
        if self.shortest_edge is None:
            resized = self._resize(images, self.size, self.size)
        else:
            # The longer side is cut to whole pixels as transformers' `get_resize_output_image_size` does.
            short = min(height, width)
            resized = self._resize(images, *(int(self.shortest_edge * side / short) for side in (height, width)))
            resized = _middle(resized, self.size)
        mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (resized - mean) / std

    def _resize(self, images: Tensor, height: int, width: int) -> Tensor:
        # A cubic overshoots at edges, a pixel cannot: Pillow clips after the rows, and again after the columns (of a
        # picture taller than wide it may take the columns first; pictures here are square).
        for size in ((images.shape[-2], width), (height, width)):
            if images.shape[-2:] != size:
                images = functional.interpolate(images, size, mode=self.filter, antialias=True).clamp(0.0, 1.0)
        return images


CLIP_PREPROCESSING = Preprocessing(
    size=224,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    shortest_edge=224,
)
"""Of every CLIP that OpenAI published (github.com/openai/CLIP, clip.py)."""


def read_preprocessing(folder: Path, config: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that a model's folder describes.

    Args:
        folder: the model's folder.
        config: what its config.json says.

    Raises:
        UsageError: nothing is said and the model is no CLIP, or something is asked that cannot be done here.
    """
    said = _said(folder)
    kind, looks_at = config.get("model_type"), config.get("vision_config", {}).get("image_size")
    if said is None:
        if kind not in ("clip", "metaclip_2"):
            raise UsageError(f"{folder} does not say how its pictures are prepared; add its preprocessor_config.json")
        side = int(looks_at or CLIP_PREPROCESSING.size)
        return Preprocessing(side, CLIP_PREPROCESSING.mean, CLIP_PREPROCESSING.std, shortest_edge=side)
    try:
        made = _parse(said)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"the preprocessor_config.json of {folder} cannot be followed: {error!r}; take the model's folder afresh"
        ) from error
    if kind != "siglip2" and looks_at is not None and made.size != looks_at:
        raise UsageError(
            f"{folder} prepares pictures of {made.size} pixels for a model that looks at {looks_at}; "
            "take the model's folder afresh"
        )
    return made


def _said(folder: Path) -> dict[str, Any] | None:
    """Return what the folder says of pictures; newer folders keep it among what they say of the whole processor."""
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder / "preprocessor_config.json")
    if (folder / "processor_config.json").is_file():
        inner = read_json(folder / "processor_config.json").get("image_processor")
        return inner if isinstance(inner, dict) else None
    return None


def _parse(said: Mapping[str, Any]) -> Preprocessing:
    # Colours arrive in [0, 1]; a processor that scales its 255 levels otherwise has them so much larger.
    scale = float(said.get("rescale_factor", 1 / 255)) * 255 if said.get("do_rescale", True) else 255.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if said.get("do_normalize", True):
        mean, std = _triple(said["image_mean"]), _triple(said["image_std"])
    size, edge = _sizes(said)
    return Preprocessing(
        size,
        (mean[0] / scale, mean[1] / scale, mean[2] / scale),
        (std[0] / scale, std[1] / scale, std[2] / scale),
        _FILTERS[int(said["resample"])],
        edge,
    )


def _sizes(said: Mapping[str, Any]) -> tuple[int, int | None]:
    """Return the side of what the model looks at and the length of the shorter side before the middle is cut out."""
    if "max_num_patches" in said:
        # Patches at will, as many as fit: of a square picture, the largest square of them.
        return int(said["max_num_patches"] ** 0.5 + 1e-6) * int(said["patch_size"]), None
    size = said["size"]
    crop = said["crop_size"] if said.get("do_center_crop", False) else None
    if isinstance(size, dict) and "shortest_edge" not in size:
        edge = None
        side = _square(size)
        if crop is not None and _square(crop) != side:
            raise ValueError("both sides are resized, and then cut")
    else:
        edge = int(size["shortest_edge"] if isinstance(size, dict) else size)
        side = edge if crop is None else _square(crop)
        if side > edge:
            raise ValueError("more is cut out than there is")
    # An old file has a bare number: of both sides if nothing is cut.
    return side, None if crop is None and not isinstance(size, dict) else edge


def _square(size: Any) -> int:
    if isinstance(size, int):
        return size
    if size["height"] != size["width"]:
        raise ValueError("pictures are not square")
    return int(size["height"])


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _middle(images: Tensor, size: int) -> Tensor:
    top, left = (images.shape[-2] - size) // 2, (images.shape[-1] - size) // 2
    return images[..., top : top + size, left : left + size]
