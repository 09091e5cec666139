"""Whether this machine can work on a run: device, weights and disk space, told without importing torch."""

from dreamfields.config import Config
from dreamfields.devices import check_device
from dreamfields.guidance.lit.weights import check_weights
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.disk import check_space, run_bytes


def check_runnable(config: Config, directory: RunDirectory) -> None:
    """Make sure that device, weights and disk space are there.

    Raises:
        UsageError: the device is not there.
        MissingPackageError: weights are not installed.
        StorageError: the disk has too little room.
    """
    check_device(config.device)
    check_weights(config.recipe.guidance)
    check_space(directory.path, run_bytes(config.recipe, config.export.most_bytes()))
