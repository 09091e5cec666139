"""The 153 captions that Dream Fields is judged on: object-centric captions of COCO, as the paper's code lists them.

From google-research/dreamfields (config/coco_queries_val.py, Apache-2.0), by COCO's annotators (CC BY 4.0).
"""

from functools import cache
from importlib import resources


@cache
def captions() -> tuple[str, ...]:
    """Return the captions, normalised and distinct, in the paper's order."""
    text = (resources.files("dreamfields.evaluate") / "data" / "coco_captions.txt").read_text(encoding="utf-8")
    return tuple(normalised(line) for line in text.splitlines() if line.strip())


def normalised(caption: str) -> str:
    """Return a caption in lower case, without spaces, dots and commas around it, with one final dot."""
    return caption.lower().strip(" .,\t") + "."
