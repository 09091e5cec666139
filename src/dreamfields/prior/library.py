"""Shapes of named things, looked up by the embedding of a sentence.

A file holds solid voxels of 3D models on a lattice of 33 nodes a side, a few for each name, with coarse colours and the
embedding of the name. Of the models whose names are nearest to a sentence that is chosen which overlaps most with the
others: of things that look alike the most usual one.

Notation: m models, e numbers of an embedding, n nodes a side of the fine lattice and k of that of colours, [z, y, x].
"""

import hashlib
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from dreamfields.errors import MissingPackageError
from dreamfields.reprs import short_repr
from dreamfields.scene.coarse import CoarseObject, blurred
from dreamfields.storage import safetensors_facts

FORMAT: Final = "2"
_PRESET: Final = 6 | lzma.PRESET_EXTREME
_ABOUT: Final = "library"
_LARGEST_FILE: Final = 64_000_000
_MOST_MODELS: Final = 20_000
_CANDIDATES: Final = 6  # Nearest models among which the most usual one is chosen
_WITHIN: Final = 0.08  # Cosine by which a candidate may be farther than the nearest
_BYTE: Final = 127.0  # Of a number of 1 in a stored embedding
REMAKE: Final = "make one with: dreamfields prior build SHAPES --out FILE"


@dataclass(frozen=True)
class Prediction:
    """A coarse object for a sentence, and why it was chosen."""

    coarse: CoarseObject
    name: str  # Of the model
    cosine: float  # Of the sentence and the nearest name: how surely the thing is known
    credit: str = ""  # Words that must be shown with what is made from it; "" if none must

    __repr__ = short_repr


@final
@dataclass(frozen=True)
class ShapeLibrary:
    """Models by name."""

    names: tuple[str, ...]  # (m) of them
    credits: tuple[str, ...]  # (m) words that name a model's maker; "" where its licence asks for none
    embeddings: Tensor  # (m, e) unit vectors
    solids: Tensor  # (m, n, n, n) bool
    colours: Tensor  # (m, k, k, k, 3) uint8 sRGB
    identity: str = ""  # Sha256 of the file

    __repr__ = short_repr

    def predict(self, embedding: Tensor) -> Prediction:
        """Return the most usual of the models that are nearest to a sentence's unit embedding (e,)."""
        index, cosine = self.nearest(embedding)
        return Prediction(self.coarse(index), self.names[index], cosine, self.credits[index])

    def without_credits(self) -> "ShapeLibrary":
        """Return the models whose licences ask for no credit."""
        kept = [index for index, credit in enumerate(self.credits) if not credit]
        names, none = tuple(self.names[index] for index in kept), ("",) * len(kept)
        return replace(
            self,
            names=names,
            credits=none,
            embeddings=self.embeddings[kept],
            solids=self.solids[kept],
            colours=self.colours[kept],
        )

    def nearest(self, embedding: Tensor) -> tuple[int, float]:
        """Return the index of that model and the largest cosine of the sentence and a name."""
        cosines = self.embeddings @ embedding
        near, indices = cosines.topk(min(_CANDIDATES, len(cosines)))
        chosen = indices[near >= near[0] - _WITHIN]
        return int(chosen[mean_overlaps(self.solids[chosen]).argmax()]), float(near[0])

    def coarse(self, index: int) -> CoarseObject:
        """Return a model as a coarse object with soft edges."""
        solid = self.solids[index].float()
        size = list(solid.shape)
        colours = self.colours[index].permute(3, 0, 1, 2)[None].float() / 255.0
        fine = functional.interpolate(colours, size=size, mode="trilinear", align_corners=True)[0]
        return CoarseObject(blurred(solid[None])[0], fine.permute(1, 2, 3, 0).contiguous())


def mean_overlaps(solids: Tensor) -> Tensor:
    """Return of each of solids (c, n, n, n) the mean of its overlap with all of them, (c,): intersection over union."""
    flat = solids.flatten(1).float()
    common, sizes = flat @ flat.T, flat.sum(dim=1)
    return (common / (sizes[:, None] + sizes - common).clamp(min=1.0)).mean(dim=1)


def library_bytes(library: ShapeLibrary, facts: Mapping[str, str]) -> bytes:
    """Return a file of a library with `facts` in its metadata."""
    packed = np.packbits(library.solids.numpy().reshape(len(library.names), -1), axis=1)
    first = {name: library.names.index(name) for name in dict.fromkeys(library.names)}
    state = {
        "embeddings": (_BYTE * library.embeddings[list(first.values())]).round().to(torch.int8),
        "solids": _compressed(packed),
        "colours": _compressed(library.colours.numpy()),
    }
    shapes: dict[str, Any] = {"nodes": library.solids.shape[-1], "colour_nodes": library.colours.shape[1]}
    shapes |= {"names": library.names, "credits": {i: credit for i, credit in enumerate(library.credits) if credit}}
    # One entry, because safetensors writes several in random order.
    return safetensors.torch.save(state, {_ABOUT: json.dumps({**facts, **shapes, "format": FORMAT}, sort_keys=True)})


def read_library(path: Path) -> ShapeLibrary:
    """Load a library from a file, with the file's identity.

    Raises MissingPackageError: the file is missing, cut short, of another version, or holds no library.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MissingPackageError(f"{path} is too large for a prior; {REMAKE}")
        content = path.read_bytes()
    except OSError as error:
        raise MissingPackageError(f"the prior {path} cannot be read ({error.strerror or error}); {REMAKE}") from error
    try:
        facts = safetensors_facts(content, _ABOUT)
        if facts["format"] != FORMAT:
            made = facts["format"]
            raise MissingPackageError(f"{path} is a prior of format {made}, and this version reads {FORMAT}; {REMAKE}")
        names, nodes, colour_nodes = tuple(map(str, facts["names"])), int(facts["nodes"]), int(facts["colour_nodes"])
        state = safetensors.torch.load(content)
        if not 0 < len(names) <= _MOST_MODELS or not 2 <= min(nodes, colour_nodes) <= max(nodes, colour_nodes) <= 65:
            raise ValueError(f"{len(names)} models on {nodes} and {colour_nodes} nodes")
        distinct = {name: index for index, name in enumerate(dict.fromkeys(names))}
        by_name = functional.normalize(state["embeddings"].reshape(len(distinct), -1).float(), dim=1)
        embeddings = by_name[[distinct[name] for name in names]]
        credits = tuple(str(facts["credits"].get(str(index), "")) for index in range(len(names)))
        packed = _expanded(state["solids"], (len(names), (nodes**3 + 7) // 8))
        solids = np.unpackbits(packed, axis=1, count=nodes**3).reshape(len(names), nodes, nodes, nodes)
        colours = _expanded(state["colours"], (len(names), colour_nodes, colour_nodes, colour_nodes, 3))
    except (
        SafetensorError,
        lzma.LZMAError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        RecursionError,
    ) as error:
        raise MissingPackageError(f"{path} is cut short or holds no prior ({error}); {REMAKE}") from error
    identity = hashlib.sha256(content).hexdigest()
    return ShapeLibrary(
        names, credits, embeddings, torch.from_numpy(solids).bool(), torch.from_numpy(colours), identity
    )


def _compressed(values: "np.ndarray[Any, np.dtype[np.uint8]]") -> Tensor:
    return torch.from_numpy(np.frombuffer(lzma.compress(values.tobytes(), preset=_PRESET), np.uint8).copy())


def _expanded(stored: Tensor, shape: tuple[int, ...]) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Return the bytes of a shape. Raises ValueError: there are more or fewer."""
    count = int(np.prod(shape))
    content = lzma.LZMADecompressor().decompress(stored.numpy().tobytes(), count + 1)
    if len(content) != count:
        raise ValueError(f"{len(content)} bytes in place of {count}")
    return np.frombuffer(content, np.uint8).reshape(shape).copy()
