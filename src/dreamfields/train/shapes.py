"""Sets of 3D models with names and colours, as pictures with captions: `models.jsonl` and `models.zip` in a folder.

`models.jsonl` has a JSON object a line with `file`, `name`, `captions`, `colours`, `category` and, if they are known,
`licence`, `author`, `url`, `source`, `variant_of`, the model that it is in other colours, and `front_deg`, the azimuth
from which its front is seen. `data/fronts.json` has that for 794 models of the set that the shipped adapters were
trained on, found by looking at each. Each file in `models.zip` is a NumPy archive: `vertices` (v, 3) with +Y up,
centred, with the largest half extent 1; `faces` (m, 3); `colors` (v, 3) sRGB in bytes.

Models of a tenth of the names are held out, so that what adapters make of names that they never saw can be measured.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.train.looks import Look, Shape, looks
from dreamfields.train.pairs import Pair, Pictures, content_facts
from dreamfields.train.renders import Model, rendered

VERSION: Final = 1  # Version of the pictures; part of the names of cached files
ROWS: Final = "models.jsonl"
_MODELS: Final = "models.zip"
_HELD_OUT: Final = 10  # One name in this many is held out


@final
@dataclass(frozen=True)
class ShapeSet(Pictures):
    """Pictures of 3D models."""

    models: Path
    shapes: Mapping[str, Shape] = field(repr=False)  # By file
    looks: Mapping[str, Look] = field(repr=False)  # What each picture shows, by its name

    def facts(self) -> list[str | int]:
        """Return the version of the pictures, and what tells the content of the models' file."""
        return [VERSION, *content_facts(self.models)]

    def shown(self, chosen: Sequence[Pair], view: int) -> Iterator[Tensor]:
        """Yield renderings of models; see `renders.rendered`."""
        with zipfile.ZipFile(self.models) as archive:
            for file, pairs in groupby(chosen, key=lambda pair: pair.group):
                model = self.model(file, archive)
                for pair in pairs:
                    yield rendered(model, self.looks[pair.image], pair.image, view)

    def model(self, file: str, archive: zipfile.ZipFile) -> Model:
        """Return the model of a file in the set. Raises UsageError: it cannot be read."""
        try:
            arrays = np.load(io.BytesIO(archive.read(file)), allow_pickle=False)
            vertices, faces, colours = (arrays[name] for name in ("vertices", "faces", "colors"))
            if faces.max() >= len(vertices) or vertices.shape != colours.shape:
                raise ValueError("faces or colours do not fit the vertices")
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise UsageError(f"model {file} cannot be read from {self.models}: {error}") from error
        return Model(vertices.astype(np.float32), faces.astype(np.int32), (colours / 255.0).astype(np.float32))


def read_shapes(folder: Path) -> ShapeSet:
    """Return the pictures of the models in a folder. Raises UsageError: it holds none, or a line is wrong."""
    models, rows = folder / _MODELS, folder / ROWS
    if not models.is_file() or not zipfile.is_zipfile(models):
        raise UsageError(f"{rows} names models, but {models} is missing or no zip file; copy the whole folder again")
    lines = rows.read_text(encoding="utf-8").splitlines()
    shapes = [_shape(rows, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    shown = {f"{shape.file}/{index}": (shape, look) for shape in shapes for index, look in enumerate(looks(shape))}
    if not shown:
        raise UsageError(f"{rows} has no lines; one for each model is needed")
    pairs = tuple(
        Pair(image, look.captions, "heldout" if held_out(shape.name) else "train", shape.file)
        for image, (shape, look) in shown.items()
    )
    by_file = {shape.file: shape for shape in shapes}
    return ShapeSet(folder.resolve().name, pairs, models, by_file, {image: look for image, (_, look) in shown.items()})


def held_out(name: str) -> bool:
    """Return whether models of a name are never trained on."""
    return hashlib.sha256(name.encode()).digest()[0] % _HELD_OUT == 0


def _shape(path: Path, number: int, line: str) -> Shape:
    try:
        row: Any = json.loads(line)
        captions, colours = (tuple(map(str, row[key])) for key in ("captions", "colours"))
        if not captions or not row["name"]:
            raise ValueError("a name and at least one caption are needed")
        front = row.get("front_deg", _fronts().get(Path(row["file"]).stem))
        front = None if front is None else float(front)
        licence, repainted = str(row.get("licence", "")), bool(row.get("variant_of"))
        words = str(row["file"]), str(row["name"]), captions, colours, str(row["category"])
        author, found_at = str(row.get("author", "")), str(row.get("url") or row.get("source", ""))
        return Shape(*words, front, licence, repainted, author, found_at)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"line {number} of {path} cannot be used: {error!r}") from error


@cache
def _fronts() -> Mapping[str, float]:
    """Return the azimuths from which the fronts of known models are seen, by the names of their files."""
    text = resources.files("dreamfields.train").joinpath("data/fronts.json").read_text(encoding="utf-8")
    return by_model(json.loads(text))


def by_model(fronts: Mapping[str, Sequence[str]]) -> Mapping[str, float]:
    """Return the azimuth from which each model's front is seen, given the models by azimuth."""
    return {name: float(azimuth) for azimuth, names in fronts.items() for name in names}
