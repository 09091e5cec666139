"""The configuration of a run: what is asked, the recipe that makes it, and what is kept of it."""

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
    """All that a run is made from; kept in run.json and read back from there."""

    prompt: str
    """What to make."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Same seed, same machine, same object."""
    device: Device = "auto"
    """Where to compute; `auto` takes CUDA, then MPS, then the CPU."""
    threads: Annotated[int, Range(0, 1024)] = 0
    """CPU threads; 0 takes all cores. Results are bit-for-bit the same only for the same number."""
    prompts: PromptSettings = field(default_factory=PromptSettings)
    """What is asked besides the prompt."""
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
        """Return what tells this run from others, by dotted name, as JSON values.

        Left out is what may change without making it another run: how long, how often saved, and where the guidance's
        weights are (run.json holds what tells those weights from others).
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
