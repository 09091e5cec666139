"""The configuration of a run: its prompt, the recipe of its optimisation, and the settings of its exports."""

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
    """Prompt that describes the object."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Seed of all random draws; the same seed on the same machine gives the same object."""
    device: Device = "auto"
    """Device to compute on; `auto` takes CUDA, then MPS, then the CPU."""
    threads: Annotated[int, Range(0, 1024)] = 0
    """CPU threads; 0 takes all cores. Results are bit-for-bit equal only for equal numbers."""
    prompts: PromptSettings = field(default_factory=PromptSettings)
    """Additional prompts."""
    recipe: Recipe = field(default_factory=Recipe)
    """Settings of the optimisation."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """Settings of the exported files."""

    def __post_init__(self) -> None:
        """Check every field and normalise the prompt. Raises UsageError: a field cannot be used."""
        super().__post_init__()
        # Under `collected_faults`, a prompt that cannot be used stays as it is.
        with contextlib.suppress(UsageError):
            object.__setattr__(self, "prompt", clean_prompt(self.prompt))

    def faults(self) -> list[str]:
        """Return one sentence for each fault, including the prompt's."""
        found = super().faults()
        if isinstance(self.prompt, str):
            try:
                clean_prompt(self.prompt)
            except UsageError as error:
                found.append(str(error))
        return found

    def identity(self) -> dict[str, Any]:
        """Return the settings that distinguish this run from others, as JSON values by dotted name.

        Settings that a resume may change are left out: the number of steps, the steps between checkpoints, and the
        guidance's name (run.json holds digests of its weights).
        """
        values = self.to_json()
        recipe = values["recipe"]
        del recipe["guidance"]["name"], recipe["optimize"]["steps"], recipe["optimize"]["checkpoint_every"]
        plain = {"prompt": self.prompt, "seed": self.seed, "field": recipe.pop("field")}
        for part, settings in {**recipe, "prompts": values["prompts"]}.items():
            plain |= {f"{part}.{name}": value for name, value in settings.items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
