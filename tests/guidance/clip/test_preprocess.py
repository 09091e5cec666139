"""Preprocessing: what the model's own image processor makes of a image, with gradients."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from dreamfields.errors import UsageError
from dreamfields.guidance.clip.preprocess import CLIP_PREPROCESSING, Preprocessing, read_preprocessing

SQUARE = {"height": 24, "width": 24}
PROCESSORS: dict[str, tuple[Any, str]] = {
    "clip": (CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size=SQUARE), "clip"),
    "clip, cut closer": (CLIPImageProcessorPil(size={"shortest_edge": 30}, crop_size=SQUARE), "clip"),
    "siglip": (SiglipImageProcessorPil(size=SQUARE), "siglip"),
    "bilinear": (SiglipImageProcessorPil(size=SQUARE, resample=2), "siglip"),
    "vit": (ViTImageProcessorPil(size=SQUARE), "vision-text-dual-encoder"),
    "unscaled": (SiglipImageProcessorPil(size=SQUARE, rescale_factor=1 / 127.5), "siglip"),
    "not standardised": (SiglipImageProcessorPil(size=SQUARE, do_normalize=False), "siglip"),
}

LEVELS = 2.0
"""Levels of 255 that a processor may differ by: it rounds to whole ones after the rows and again after the columns."""


def image(height: int, width: int) -> Tensor:
    """A image (3, h, w) in whole levels of 255, of noise and of areas at both ends of the range."""
    levels = torch.randint(0, 256, (3, height, width)).to(torch.uint8)
    levels[:, : height // 3] = 255
    levels[:, :, : width // 3] = 0
    return levels


def read(folder: Path, processor: Any, kind: str) -> Preprocessing:
    processor.save_pretrained(folder)
    return read_preprocessing(folder, {"model_type": kind})


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", [(64, 64), (24, 24), (17, 17), (25, 40), (31, 57)])
def test_images_become_what_the_model_s_own_processor_makes_of_them(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    processor, kind = PROCESSORS[name]
    ours = read(tmp_path, processor, kind)
    levels = image(*size)
    theirs = processor(np.asarray(levels.permute(1, 2, 0)), return_tensors="pt")["pixel_values"]
    made = ours(levels[None] / 255.0)
    assert made.shape == theirs.shape == (1, 3, ours.size, ours.size)
    deviation = torch.tensor(ours.std).view(3, 1, 1) * 255.0
    resized = size != (24, 24) or name == "clip, cut closer"
    assert ((made - theirs) * deviation).abs().max() < (LEVELS if resized else 1e-3)


def test_patches_at_will_are_of_the_largest_square_that_fits(tmp_path: Path) -> None:
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=9)
    ours = read(tmp_path, processor, "siglip2")
    assert ours.size == 24
    levels = image(40, 40)
    theirs = processor(np.asarray(levels.permute(1, 2, 0)), return_tensors="pt")
    assert theirs["spatial_shapes"].tolist() == [[3, 3]]
    first = ours(levels[None] / 255.0)[0, :, :8, :8].permute(1, 2, 0).flatten()
    assert (first - theirs["pixel_values"][0, 0]).abs().max() * 0.5 * 255.0 < LEVELS


def test_gradients_reach_every_pixel() -> None:
    images = 0.3 + 0.4 * torch.rand(2, 3, 40, 40)
    images.requires_grad_()
    CLIP_PREPROCESSING(images).square().sum().backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert (images.grad != 0.0).all()


@pytest.mark.parametrize("kind", ["clip", "metaclip_2"])
def test_a_clip_whose_folder_describes_nothing_is_preprocessed_as_openai_s(kind: str, tmp_path: Path) -> None:
    assert read_preprocessing(tmp_path, {"model_type": kind}) == CLIP_PREPROCESSING
    larger = read_preprocessing(tmp_path, {"model_type": kind, "vision_config": {"image_size": 336}})
    assert (larger.size, larger.shortest_edge, larger.mean) == (336, 336, CLIP_PREPROCESSING.mean)


def test_what_openai_published_is_read_as_it_is(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        "crop_size": 224,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "resample": 3,
        "size": 224,
    }
    said |= {"image_mean": CLIP_PREPROCESSING.mean, "image_std": CLIP_PREPROCESSING.std}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    assert read_preprocessing(tmp_path, {"model_type": "clip"}) == CLIP_PREPROCESSING
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": said}))
    assert read_preprocessing(tmp_path, {"model_type": "siglip"}) == CLIP_PREPROCESSING


WHOLE = {"size": 24, "resample": 3, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (None, "does not say how its images are prepared"),
        ({}, "cannot be followed: KeyError"),
        (WHOLE | {"resample": 1}, "cannot be followed: KeyError"),
        (WHOLE | {"image_mean": [0.5]}, "cannot be followed: ValueError"),
        (WHOLE | {"size": {"height": 24, "width": 32}}, "not square"),
        (WHOLE | {"size": 20, "crop_size": 24, "do_center_crop": True}, "more is cut out than there is"),
        (WHOLE | {"size": 32}, "prepares images of 32 pixels for a model that takes 24"),
    ],
    ids=str,
)
def test_what_cannot_be_followed_is_one_sentence(said: dict[str, Any] | None, sentence: str, tmp_path: Path) -> None:
    if said is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(UsageError) as caught:
        read_preprocessing(tmp_path, {"model_type": "siglip", "vision_config": {"image_size": 24}})
    assert sentence in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
