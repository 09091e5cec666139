"""Whether a run can work on this machine, found out without torch."""

from dreamfields.config import Config
from dreamfields.devices import check_device
from dreamfields.guidance.ensemble import check_weights
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.disk import check_space, run_bytes


def check_runnable(config: Config, directory: RunDirectory) -> None:
    """Make sure that the device, the weights and the room on the disk are there; once a command, before torch loads.

    Raises:
        UsageError: the device is not there, or a folder holds no model that can guide.
        MissingPackageError: weights are not installed; the sentence names the command.
        StorageError: the disk has too little room.
    """
    check_device(config.device)
    check_weights(config.recipe.guidance)
    check_space(directory.path, run_bytes(config.recipe, config.export.most_bytes()))
