"""Sets of pictures with captions: what they have in common, and two layouts on disk.

A *set* is a folder with `pairs.jsonl`, one JSON object a line with at least `image` and `texts`, and with the images in
`images.zip` or in a folder `images`. *COCO captions* are the JSON file that COCO publishes and a folder of images,
written as one argument: `captions_val2017.json:val2017`.
"""

import hashlib
import io
import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from PIL import Image
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.storage import user_path
from dreamfields.train.views import show

Split = Literal["train", "heldout"]
_LARGEST_PIXELS = 64_000_000


@dataclass(frozen=True)
class Pair:
    """One image and its captions."""

    image: str  # Name of the image within the set
    texts: tuple[str, ...]  # At least one sentence; each describes the whole image
    split: Split = "train"  # `heldout` images are used neither for training nor for validation
    group: str = ""  # Pictures of one thing: all of them are trained on or validated with; "" for one that has no other


@dataclass(frozen=True)
class Pictures(ABC):
    """A named set of pictures with captions."""

    name: str  # Its folder's or file's name: what a model card lists
    pairs: tuple[Pair, ...]

    @abstractmethod
    def facts(self) -> list[str | int]:
        """Return what, besides the names of its pictures, tells this set from another of the same name."""

    @abstractmethod
    def shown(self, chosen: Sequence[Pair], view: int) -> Iterator[Tensor]:
        """Yield the pictures of pairs, in order, in a view, from 0 or PLAIN: (3, s, s) in [0, 1], all from fixed seeds.

        Raises UsageError: one is missing or cannot be read.
        """


@final
@dataclass(frozen=True)
class PairSet(Pictures):
    """A set of images on disk."""

    images: Path  # A zip file or a folder

    def facts(self) -> list[str | int]:
        """Return what tells the content of the file or folder; see `content_facts`."""
        return content_facts(self.images)

    def shown(self, chosen: Sequence[Pair], view: int) -> Iterator[Tensor]:
        """Yield the images of pairs as `views.show` shows them."""
        for pair, picture in zip(chosen, self.pictures(chosen), strict=True):
            yield show(picture, view, seeded_generator(0, f"{self.name}/{pair.image}", view))

    def pictures(self, chosen: Sequence[Pair]) -> Iterator[Image.Image]:
        """Yield the images of pairs, as RGB, in order. Raises UsageError: an image is missing or cannot be read."""
        with nullcontext() if self.images.is_dir() else zipfile.ZipFile(self.images) as archive:
            for pair in chosen:
                yield self._decode(pair, self._read(pair, archive))

    def _read(self, pair: Pair, archive: zipfile.ZipFile | None) -> bytes:
        path = self.images / pair.image
        if archive is None and not path.resolve().is_relative_to(self.images.resolve()):
            raise UsageError(f"set {self.name} names the picture {pair.image!r}, which lies outside {self.images}")
        try:
            return path.read_bytes() if archive is None else archive.read(pair.image)
        except (KeyError, zipfile.BadZipFile, OSError) as error:
            raise UsageError(f"picture {pair.image} cannot be read from {self.images}: {error}") from error

    def _decode(self, pair: Pair, content: bytes) -> Image.Image:
        try:
            picture = Image.open(io.BytesIO(content))
            if picture.width * picture.height > _LARGEST_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels; at most {_LARGEST_PIXELS:,} are read")
            return picture.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UsageError(f"picture {pair.image} of set {self.name} is no picture: {error}") from error


def content_facts(path: Path) -> list[str | int]:
    """Return what changes with the content of a zip file or folder: the digest of its checksums, or its size and time.

    A copy of a zip file, of whatever time, has the same. Nothing is unpacked.
    """
    if path.is_dir():
        stat = path.stat()
        return [stat.st_size, stat.st_mtime_ns]
    with zipfile.ZipFile(path) as archive:
        checksums = [[member.filename, member.CRC, member.file_size] for member in archive.infolist()]
    return [hashlib.sha256(json.dumps(checksums).encode()).hexdigest()]


def read_pairs(place: str) -> PairSet:
    """Return the set at a folder or at `CAPTIONS.json:FOLDER`. Raises UsageError: none is there, or a line is wrong."""
    stem, mark, folder = place.partition(".json:")
    if mark:
        return _read_coco(user_path(f"{stem}.json"), user_path(folder))
    return _read_folder(user_path(place))


def _read_folder(folder: Path) -> PairSet:
    rows = folder / "pairs.jsonl"
    if not rows.is_file():
        missing = f"{folder} holds no pictures with captions (no pairs.jsonl)"
        raise UsageError(f"{missing}; give such a folder, or COCO captions as CAPTIONS.json:FOLDER")
    images = next((path for path in (folder / "images.zip", folder / "images") if path.exists()), None)
    if images is None:
        raise UsageError(f"{folder} has no pictures; put them into images.zip or a folder images")
    if images.is_file() and not zipfile.is_zipfile(images):
        raise UsageError(f"{images} is not a zip file, or not a whole one; copy it again")
    lines = rows.read_text(encoding="utf-8").splitlines()
    pairs = [_pair(rows, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not pairs:
        raise UsageError(f"{rows} has no lines; one for each picture is needed")
    return PairSet(folder.resolve().name, tuple(pairs), images)


def _pair(path: Path, number: int, line: str) -> Pair:
    try:
        row = json.loads(line)
        image, texts = row["image"], tuple(" ".join(text.split()) for text in row["texts"])
        split = row.get("split", "train")
        if not isinstance(image, str) or not texts or not all(texts) or split not in ("train", "heldout"):
            raise ValueError("image must be text, texts a list of sentences, split train or heldout")
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"line {number} of {path} cannot be used: {error!r}") from error
    return Pair(image, texts, split)


def _read_coco(path: Path, folder: Path) -> PairSet:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder} with the pictures of {path}")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        names = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        texts: dict[int, list[str]] = {}
        for row in content["annotations"]:
            texts.setdefault(int(row["image_id"]), []).append(" ".join(row["caption"].split()))
        pairs = [Pair(names[number], tuple(captions)) for number, captions in sorted(texts.items()) if all(captions)]
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as COCO captions: {error!r}") from error
    if not pairs:
        raise UsageError(f"{path} has no captions")
    return PairSet(path.stem, tuple(pairs), folder)
