"""The configuration of a run: its prompt, the recipe of its optimisation, and the files that it ends with."""

import contextlib
from dataclasses import dataclass, field
from typing import Annotated, Any

from dreamfields.devices import Device
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.settings import Range, Settings


@dataclass(frozen=True)
class Config(Settings):
    """All settings of a run; run.json holds them."""

    prompt: str
    """What to make."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Same seed, same machine, same object."""
    device: Device = "auto"
    """Where to compute; `auto` takes CUDA, then MPS, then the CPU."""
    threads: Annotated[int, Range(0, 1024)] = 0
    """CPU threads; 0 takes all cores. Results are bit-for-bit the same only for the same number."""
    prompts: PromptSettings = field(default_factory=PromptSettings)
    """Prompts besides the main one."""
    recipe: Recipe = field(default_factory=Recipe)
    """The optimisation."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """The exported files."""

    def __post_init__(self) -> None:
        """Check every field and normalise the prompt. Raises UsageError: a field cannot be used."""
        super().__post_init__()
        # Where faults are collected, as the command line does, a prompt that cannot be used stays as it is.
        with contextlib.suppress(UsageError):
            object.__setattr__(self, "prompt", clean_prompt(self.prompt))

    def faults(self) -> list[str]:
        """Return one sentence for each fault, the prompt's among them."""
        found = super().faults()
        if isinstance(self.prompt, str):
            try:
                clean_prompt(self.prompt)
            except UsageError as error:
                found.append(str(error))
        return found

    def identity(self) -> dict[str, Any]:
        """Return the settings that tell this run from others, as JSON values by dotted name.

        Left out is what may change from one resume to the next: the number of steps, how often they are saved, and
        where the guidance's weights are (run.json holds digests of those).
        """
        values = self.to_json()
        recipe = values["recipe"]
        del recipe["guidance"]["name"], recipe["optimize"]["steps"], recipe["optimize"]["checkpoint_every"]
        named = {
            f"{part}.{name}": value
            for part, settings in {**recipe, "prompts": values["prompts"]}.items()
            if part != "field"
            for name, value in settings.items()
        }
        plain = {"prompt": self.prompt, "seed": self.seed, "field": recipe["field"], **named}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
