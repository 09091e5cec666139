"""Whether a run can work on this machine, found out without torch: device, weights and, estimated, disk space."""

import os
from pathlib import Path
from typing import Final

from dreamfields.config import Config
from dreamfields.devices import check_device
from dreamfields.errors import StorageError, UsageError
from dreamfields.guidance import ensemble
from dreamfields.guidance.prompts import parse_azimuth_prompts
from dreamfields.optimize.settings import Recipe
from dreamfields.prior.load import check_prior, check_words
from dreamfields.runs.directory import RunDirectory
from dreamfields.scene.fields import FIELDS

_FLOAT: Final = 4
_COPIES: Final = 3  # Each parameter is saved with two moments of Adam
_CHECKPOINTS: Final = 3  # Two are kept while a third is written
_START: Final = 600_000  # Bytes of the shape that a field began as
_METRICS_LINE: Final = 250
_FEW: Final = 100_000  # Bytes of names, counters and run.json


def check_runnable(config: Config, directory: RunDirectory) -> None:
    """Make sure that the device, the weights and the room on the disk are there; once a command, before torch loads.

    Raises:
        UsageError: the device is not there, or a folder holds no model that can guide.
        MissingPackageError: weights are not installed; the sentence names the command.
        StorageError: the disk has too little room.
    """
    check_device(config.device)
    ensemble.check_weights(config.recipe.guidance)
    # What a run began as is in its checkpoints.
    if config.recipe.looks_up and not any(directory.checkpoints.glob("*.json")):
        check_prior()
    check_space(directory.path, run_bytes(config.recipe, config.export.most_bytes()))


def check_readable(config: Config) -> None:
    """Make sure that the models that guide can read each text of a new run and do what is asked; without torch.

    Raises UsageError: a text has no word that one can read, or none can tell the sides that are asked for.
    """
    guidance = config.recipe.guidance
    kinds = {member.kind for member in ensemble.parse_members(guidance.name)}
    if config.prompts.sides == "always" and guidance.mode == "closed-form" and kinds == {"lit"}:
        raise UsageError(
            "sides are always asked for, but lit in closed form cannot tell them; guide with --guidance.mode both, or "
            "leave out --sides always"
        )
    if config.recipe.init.subject:
        check_words(config.recipe.init.subject, "--init.subject")
    texts = [("the prompt", config.prompt)]
    for name, given in config.prompts.texts():
        if name == "azimuth_prompts":  # {} stands for the prompt, which is read above.
            given = tuple(one.wording.replace("{}", "") for one in parse_azimuth_prompts(given))
        texts += [(name, text) for text in given]
    ensemble.check_readable(guidance, texts)


def checkpoint_bytes(recipe: Recipe) -> int:
    """Return about how many bytes one checkpoint takes."""
    parameters = _COPIES * _FLOAT * FIELDS[recipe.field].parameters(recipe)
    return parameters + recipe.render.occupancy_cells**3 + (_START if recipe.looks_up else 0) + _FEW


def run_bytes(recipe: Recipe, exports: int) -> int:
    """Return about how many bytes a run of this recipe takes, its exported files of so many bytes included."""
    steps = recipe.optimize.steps * (1 + recipe.collapse.restarts)
    return _CHECKPOINTS * checkpoint_bytes(recipe) + steps * _METRICS_LINE + exports


def check_space(folder: Path, needed: int) -> None:
    """Make sure that so many bytes have room where a folder is, or will be.

    Raises StorageError: there is less room; the sentence names the place and both numbers.
    """
    there = next((one for one in (folder, *folder.absolute().parents) if one.is_dir()), Path("/"))
    try:
        found = os.statvfs(there)
    except OSError as error:
        raise StorageError(f"cannot work in {folder}: {error.strerror or error}; choose another place") from error
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise StorageError(
            f"{folder} has {free / 1e6:.1f} MB free, and the run may take {needed / 1e6:.1f} MB; "
            "free some space or choose another --out"
        )
