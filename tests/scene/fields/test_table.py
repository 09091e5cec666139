"""The table of fields: whatever is in it works from settings to export, and no field is missing from it."""

import importlib
import io
import pkgutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
import trimesh
from PIL import Image

from dreamfields.api import Run, start
from dreamfields.errors import CheckpointError, DegenerateError, UsageError
from dreamfields.export.mesh.surface import extract_mesh
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.checkpoint import load_newest, save_checkpoint
from dreamfields.runs.checks import checkpoint_bytes
from dreamfields.scene import fields
from dreamfields.scene.fields import FIELDS
from dreamfields.scene.fields.base import AbstractField, lattice
from dreamfields.scene.settings import FieldChoice, FieldName, MlpSettings, VoxelSettings
from dreamfields.studio import preview
from tests.support.toys import TINY, TINY_MLP, advance, fingerprint, new_state, tiny_config, with_steps

EACH = pytest.mark.parametrize("name", list(FIELDS))


def choice_of(name: FieldName) -> FieldChoice:
    return FieldChoice(name, TINY.voxels, TINY_MLP.mlp)


def recipe_of(name: FieldName) -> Recipe:
    return replace(TINY_MLP if FIELDS[name].unbounded else TINY, field=name)


def made(choice: FieldChoice) -> AbstractField:
    return FIELDS[choice.field].make(choice, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=list(FIELDS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A tiny finished run of each field."""
    config = tiny_config(with_steps(2, recipe_of(request.param)))
    # Two steps leave a network near its start, whose densities are around 1.
    config = replace(config, export=replace(config.export, level=0.8 if FIELDS[request.param].unbounded else 10.0))
    run = start(config, tmp_path_factory.mktemp("runs"))
    for _ in run.steps():
        pass
    return run


@EACH
def test_a_field_starts_with_finite_values_and_every_parameter_takes_a_gradient(name: FieldName) -> None:
    field = made(choice_of(name))
    values = field.evaluator()(lattice(4, torch.device("cpu")))
    assert torch.isfinite(values.density).all()
    assert values.density.min() >= 0.0
    assert ((values.colour >= 0.0) & (values.colour <= 1.0)).all()
    (values.density.sum() + (values.colour * torch.rand(125, 3)).sum()).backward()
    for parameter in field.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0.0
    assert field.density_volume(4).shape == (5, 5, 5)


@EACH
@pytest.mark.parametrize(
    ("voxels", "mlp"),
    [
        (TINY.voxels, TINY_MLP.mlp),
        (VoxelSettings(), MlpSettings()),
        (VoxelSettings(coarsest_cells=3, levels=1), MlpSettings(directions="axes", max_octave=4.4, blocks=0, width=5)),
    ],
    ids=["tiny", "default", "other"],
)
def test_the_number_of_parameters_is_the_real_one(name: FieldName, voxels: VoxelSettings, mlp: MlpSettings) -> None:
    choice = FieldChoice(name, voxels, mlp)
    parameters = sum(parameter.numel() for parameter in made(choice).parameters())
    assert FIELDS[name].parameters(choice) == parameters


@EACH
def test_the_checkpoint_is_no_larger_than_estimated(name: FieldName, tmp_path: Path) -> None:
    recipe = replace(recipe_of(name), mlp=replace(TINY_MLP.mlp, hidden=64))
    state = new_state(recipe)
    advance(state, 1)
    manifest = save_checkpoint(tmp_path, state)
    written = sum(path.stat().st_size for path in (manifest, manifest.with_suffix(".safetensors")))
    assert 0 <= checkpoint_bytes(recipe) - written < 0.1 * written + 150_000


@EACH
def test_values_come_back_from_a_checkpoint_to_the_bit(name: FieldName, tmp_path: Path) -> None:
    recipe = recipe_of(name)
    state = new_state(recipe, seed=1)
    save_checkpoint(tmp_path, state)
    saved, other = load_newest(tmp_path), new_state(recipe, seed=2)
    other.restore(saved.tensors, saved.counters)
    assert fingerprint(other) == fingerprint(state)
    with pytest.raises(CheckpointError):
        new_state(replace(recipe, voxels=VoxelSettings(levels=1), mlp=MlpSettings(hidden=7))).restore(
            saved.tensors, saved.counters
        )


def test_the_live_preview_has_an_image_and_a_mesh(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run.config.recipe.field
    monkeypatch.setattr(preview, "FIELDS", {name: replace(FIELDS[name], preview_size=20, preview_cells=12)})
    shown = preview.make_preview(run.directory, run.config, "x")
    with Image.open(io.BytesIO(shown.image)) as image:
        assert image.size == (20, 20)
    scene = trimesh.load(io.BytesIO(shown.mesh), file_type="glb")
    assert isinstance(scene, trimesh.Scene)
    assert len(scene.to_mesh().faces) > 0


def test_the_mesh_is_exported_or_the_field_is_said_to_be_empty(run: Run, tmp_path: Path) -> None:
    run.export(tmp_path / "object.glb")
    assert (tmp_path / "object.glb").read_bytes()[:4] == b"glTF"
    field = made(run.config.recipe)
    with pytest.raises(DegenerateError, match="density"):
        extract_mesh(field, replace(run.config.export, level=1e6))


@EACH
def test_settings_that_the_field_cannot_have_are_refused(name: FieldName) -> None:
    recipe, kind = recipe_of(name), FIELDS[name]
    able = " or ".join(other for other in FIELDS if FIELDS[other].unbounded)
    for changes, allowed, sentence in [
        ({"render": replace(recipe.render, bounds=False)}, kind.unbounded, "ends with the cube"),
        ({"losses": replace(recipe.losses, density_noise=(1.0, 0.0))}, kind.density_noise, "takes none"),
    ]:
        if allowed:
            replace(recipe, **changes)  # type: ignore[arg-type]
        else:
            with pytest.raises(UsageError, match=f"the {name} field {sentence}, so use --field {able}"):
                replace(recipe, **changes)  # type: ignore[arg-type]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"field is 'cubes'; it must be one of voxels, mlp, nerf"):
        FieldChoice.from_json({"field": "cubes"})


def test_the_table_is_complete() -> None:
    """Each module here with a concrete field is in the table; one that is derived from another shares its module."""
    assert set(FIELDS) == set(get_args(FieldName))
    concrete = set()
    for module in pkgutil.iter_modules(fields.__path__):
        loaded = importlib.import_module(f"{fields.__name__}.{module.name}")
        concrete |= {
            loaded.__name__
            for one in vars(loaded).values()
            if isinstance(one, type) and issubclass(one, AbstractField) and getattr(one, "__final__", False)
        }
    assert concrete == {type(made(choice_of(name))).__module__ for name in FIELDS}


def test_the_table_loads_without_torch() -> None:
    code = "import dreamfields.scene.fields, dreamfields.optimize.settings, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
