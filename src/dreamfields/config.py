"""The configuration of a run: what is asked, the recipe that makes it, and what is kept of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dreamfields.devices import Device
from dreamfields.errors import StorageError, UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.optimize.settings import Recipe
from dreamfields.settings import Range, Settings

FORMAT = 1
"""Format of run.json."""


@dataclass(frozen=True)
class Config(Settings):
    """All that a run is made from; kept in run.json and read back from there."""

    prompt: str
    """What to make."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Same seed, same machine, same object."""
    device: Device = "auto"
    """Where to compute; `auto` takes CUDA, then MPS, then the CPU."""
    threads: Annotated[int, Range(0, 1024)] = 0
    """CPU threads; 0 takes all cores. Results are bit-for-bit the same only for the same number."""
    recipe: Recipe = field(default_factory=Recipe)
    """How it is made."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """What is kept."""

    def __post_init__(self) -> None:
        """Check every field and bring the prompt into its one form.

        Raises:
            UsageError: a field cannot be used.
        """
        super().__post_init__()
        object.__setattr__(self, "prompt", clean_prompt(self.prompt))


def recorded_config(record: Mapping[str, Any], folder: Path) -> Config:
    """Return the configuration in a run's record.

    Args:
        record: what run.json says.
        folder: the run's, for the sentence.

    Raises:
        StorageError: it cannot be understood.
    """
    try:
        if record["format"] != FORMAT or not isinstance(record["status"], str):
            raise TypeError(f"format {record['format']}, status {record['status']}")
        return Config.from_json(record["config"])
    except (AttributeError, KeyError, TypeError, UsageError) as error:
        raise StorageError(f"{folder} was made by another version, or its run.json was changed: {error}") from error
