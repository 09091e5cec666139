"""The configuration of a run: its prompt, the recipe of its optimisation, and the settings of its exports."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, get_type_hints

from dreamfields.devices import Device
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.settings import Range, Settings, collected_faults, merge, unknown_name

_UNNAMED: Final = ("prompts", "recipe")  # Parts that the names of their settings do not begin with
_SHORT_NAMES: Final[Mapping[str, str]] = {"steps": "optimize.steps", "guidance": "guidance.name", "init": "init.source"}


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


def with_settings(base: Config, values: Mapping[str, object]) -> Config:
    """Return a configuration with other values of some settings, by names as `full_name` takes them.

    Lists count as tuples.

    Raises UsageError: names are unknown (the nearest is offered) or values cannot be used; the sentence lists all.
    """
    paths, nested = setting_paths(), dict[str, Any]()
    with collected_faults() as faults:
        for given, value in values.items():
            name = full_name(given)
            if name not in paths:
                hint = "dreamfields generate --help-all lists all"
                faults.append(unknown_name(str(given), list(paths), "setting", hint))
                continue
            *parts, last = paths[name]
            one = {last: value}
            for part in reversed(parts):
                one = {part: one}
            nested = merge(nested, one)
        config = Config.from_json(merge(base.to_json(), nested))
    return config


def full_name(given: object) -> str:
    """Return the dotted name of a setting, with underscores; `steps` is short for `optimize.steps`, as its flag is."""
    name = str(given).replace("-", "_")
    return _SHORT_NAMES.get(name, name)


def setting_paths() -> dict[str, tuple[str, ...]]:
    """Return where in a `Config` each single setting is, by the name of its flag, such as `optimize.steps`."""
    return dict(_paths(Config, "", ()))


def _paths(kind: type[Settings], prefix: str, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    hints = get_type_hints(kind)
    for name in (entry.name for entry in dataclasses.fields(kind)):
        if isinstance(hints[name], type) and issubclass(hints[name], Settings):
            yield from _paths(hints[name], prefix if name in _UNNAMED else f"{prefix}{name}.", (*path, name))
        else:
            yield f"{prefix}{name}", (*path, name)
