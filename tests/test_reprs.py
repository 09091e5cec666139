"""Whatever holds arrays is printed as one short line, whatever their size."""

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dreamfields.export.mesh.mesh import Atlas, Mesh, Texture
from dreamfields.render.renderer import Rendering
from dreamfields.reprs import one_line
from tests.support.architecture import modules
from tests.support.toys import new_state

LONGEST = 200
BIG = 1_000_000


def all_dataclasses() -> Iterator[type[Any]]:
    for name, _ in modules():
        if name and name != "__main__":
            module = importlib.import_module(f"dreamfields.{name}")
            for kind in vars(module).values():
                if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__:
                    yield kind


def hints_of(kind: type[Any]) -> dict[str, Any]:
    """Return the types of a dataclass's fields; names that are imported for types alone stand for anything."""
    try:
        hints = typing.get_type_hints(kind)
    except NameError:
        return {entry.name: Any for entry in dataclasses.fields(kind)}
    return {entry.name: hints[entry.name] for entry in dataclasses.fields(kind)}


def holds_arrays(hint: Any) -> bool:
    """Tell whether values of a type are arrays or networks, or hold any."""
    if get_origin(hint) is np.ndarray or hint in (Tensor, np.ndarray):
        return True
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return any(map(holds_arrays, hints_of(hint).values()))
    if isinstance(hint, type) and get_origin(hint) is None:
        return issubclass(hint, nn.Module)
    return any(map(holds_arrays, item_types(hint)))


def item_types(hint: Any) -> tuple[Any, ...]:
    """Return the types of what a collection or a union holds; a function holds nothing."""
    origin = get_origin(hint)
    is_collection = isinstance(origin, type) and issubclass(origin, (Mapping, Sequence))
    return get_args(hint) if is_collection or origin in (types.UnionType, typing.Union, typing.Annotated) else ()


def example(hint: Any) -> Any:
    """Return a value of a type, as large as it gets."""
    if get_origin(hint) is np.ndarray:
        return np.zeros((BIG, 3), np.float32)
    if hint is Tensor:
        return torch.zeros(BIG, 3)
    if get_origin(hint) in (types.UnionType, typing.Union):
        return example(next(one for one in get_args(hint) if one is not types.NoneType))
    if isinstance(origin := get_origin(hint), type):
        if issubclass(origin, Mapping):
            return {f"name {index}": example(get_args(hint)[1]) for index in range(50)}
        return tuple(example(get_args(hint)[0]) for _ in range(50)) if issubclass(origin, Sequence) else None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return filled(hint)
    return {str: "word\n" * 100, int: BIG, float: 1 / 3, bool: True}.get(hint, torch.nn.Linear(30, 30))


def filled(kind: type[Any]) -> Any:
    """Return an instance of a dataclass with a value in each field, unchecked."""
    made = object.__new__(kind)
    for name, hint in hints_of(kind).items():
        object.__setattr__(made, name, example(hint))
    return made


HOLDERS = [kind for kind in all_dataclasses() if any(map(holds_arrays, hints_of(kind).values()))]


def test_holders_of_arrays_are_found() -> None:
    names = {kind.__name__ for kind in HOLDERS}
    assert names >= {"Mesh", "Texture", "Atlas", "Rendering", "Asset", "Candidate", "Rays", "FieldValues", "Saved"}
    assert not names & {"Step", "Camera", "Config", "Term", "Judgement"}


@pytest.mark.parametrize("kind", HOLDERS, ids=lambda kind: kind.__name__)
def test_a_holder_of_arrays_is_one_short_line(kind: type[Any]) -> None:
    line = repr(filled(kind))
    assert line.startswith(f"<{kind.__name__}, ")
    assert line.endswith(">")
    assert len(line) <= LONGEST
    assert "\n" not in line
    assert "tensor(" not in line
    assert "array(" not in line


def test_a_mesh_tells_its_size() -> None:
    atlas = Atlas(np.zeros((9000, 2), np.float32), np.zeros(9000, np.int32), np.zeros((12000, 3), np.int32))
    texture = Texture(np.zeros((1024, 1024, 3), np.uint8), atlas)
    mesh = Mesh(np.zeros((6002, 3), np.float32), np.zeros((12000, 3), np.int32), np.zeros((6002, 3), np.uint8), texture)
    assert repr(mesh) == "<Mesh, 6,002 vertices, 12,000 faces, texture 1024 x 1024>"
    assert repr(dataclasses.replace(mesh, texture=None)) == "<Mesh, 6,002 vertices, 12,000 faces, no texture>"
    assert repr(texture) == "<Texture, 1024 x 1024, 9,000 corners>"
    assert repr(atlas) == "<Atlas, uv (9000, 2), vertices (9000), faces (12000, 3)>"


def test_a_rendering_tells_its_shapes() -> None:
    rendering = Rendering(torch.zeros(1, 3, 20, 20), torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20))
    shapes = "colour (1, 3, 20, 20), opacity (1, 1, 20, 20), depth (1, 1, 20, 20)"
    assert repr(rendering) == str(rendering) == f"<Rendering, {shapes}>"


def test_a_training_state_tells_how_far_it_is() -> None:
    assert repr(new_state()) == "<TrainingState, step 0 of 12, attempt 0, VoxelField, on cpu>"


def test_a_line_that_would_be_too_long_is_cut() -> None:
    assert one_line("Kind", ["part"] * 100).endswith(" ...>")
    assert len(one_line("Kind", ["part"] * 100)) == 180
