"""The names of ImageNet's 1000 classes, in the order of the classifiers' outputs; published with CLIP (MIT)."""

from functools import cache
from importlib import resources


@cache
def class_names() -> tuple[str, ...]:
    """Return the 1000 names; the index is that of a tower's logit."""
    text = resources.files("dreamfields.guidance.lit").joinpath("data/imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
