"""The tables of picture and video formats, by the ending of the file. Nothing here imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dreamfields.errors import UsageError
from dreamfields.export.endings import known_ending


@dataclass(frozen=True)
class PictureFormat:
    """One format of a picture."""

    codec: str  # Its name in Pillow
    media_type: str
    facts: Literal["text chunks", "EXIF"]  # Where prompt, seed and the like are kept
    has_alpha: bool = True  # Whether it can leave the background out


JPEG: Final = PictureFormat("JPEG", "image/jpeg", "EXIF", has_alpha=False)
PICTURES: Final[Mapping[str, PictureFormat]] = {
    ".png": PictureFormat("PNG", "image/png", "text chunks"),
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": PictureFormat("WEBP", "image/webp", "EXIF"),
}
"""By the ending of the file, in small letters."""

VideoSuffix = Literal[".mp4", ".webm", ".gif", ".webp"]
VIDEOS: Final[Mapping[VideoSuffix, str]] = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""Media types by the ending of the file, in small letters."""


def picture_format(path: Path, *, transparent: bool = False) -> PictureFormat:
    """Return the format that a path's ending names. Raises UsageError: it names none, or one without transparency."""
    chosen = PICTURES[known_ending(path, PICTURES, "picture format")]
    if transparent and not chosen.has_alpha:
        able = " or ".join(ending for ending, known in PICTURES.items() if known.has_alpha)
        raise UsageError(f"{path.suffix} cannot leave the background out; use {able}, or no --transparent")
    return chosen


def video_suffix(path: Path) -> VideoSuffix:
    """Return the format that a path's ending names. Raises UsageError: it names none."""
    found = known_ending(path, VIDEOS, "video format")
    return next(known for known in VIDEOS if known == found)
