"""`dreamfields generate`: a new run, from a preset, a file of settings and flags."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

import tyro
from rich.console import Console

from dreamfields import presets
from dreamfields.cli.command import Command, values_for
from dreamfields.cli.config_file import read_config
from dreamfields.cli.parsing import value_of
from dreamfields.cli.run_folder import complete
from dreamfields.config import Config, with_settings
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.checks import check_readable, check_runnable
from dreamfields.runs.directory import RunDirectory, run_path
from dreamfields.settings import collected_faults, merge
from dreamfields.storage import user_path


@dataclass(frozen=True)
class Generate(Command):
    """Make a 3D object of a sentence: a folder with mesh, video, pictures and all that is needed to resume."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")] = ""
    """What to make, in quotes; a file of settings can name it, too."""
    preset: str = presets.DEFAULT
    """draft (~30 s), quick (~2 minutes) or standard (~7 minutes), on two CPU cores; paper-lq, paper-mq or paper-hq,
    Dream Fields as published, for a GPU and a CLIP model."""
    config: Path | None = None
    """Start from a file: the run.json of a run, or YAML or JSON of the same structure or a part of it, such as
    `recipe: {optimize: {steps: 100}}`. Flags override the file, the file overrides the preset."""
    seed: int = 0
    """Same seed, same machine, same object."""
    steps: int | None = None
    """Steps of the optimiser, short for --optimize.steps; that of file or preset if not given."""
    guidance: str | None = None
    """Model that scores the views, such as lit or clip:FOLDER-OR-ID, short for --guidance.name; that of file or
    preset if not given."""
    init: str | None = None
    """What the object starts from, short for --init.source: `none` for a grey blob, `prior` for the likely shape of
    what the prompt names, `auto` for that shape where the prior is confident of it."""
    out: Path = Path("runs")
    """Folder in which the run gets its own."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    prompts: Annotated[PromptSettings, tyro.conf.arg(name="")] = field(default_factory=PromptSettings)
    """Other texts the object is scored by"""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    """How it is made"""
    export: ExportSettings = field(default_factory=ExportSettings)
    """Files written at the end"""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """Return the values of the preset, with those of the file of settings over them."""
        given, file = value_of("--preset", arguments), value_of("--config", arguments)
        name = presets.DEFAULT if given is None else given
        chosen = presets.preset(name)
        values = read_config(user_path(file)) if file else {}
        # A placeholder, so that all else can be checked; the prompt itself may still be on the command line.
        base = Config("a prompt", recipe=chosen.recipe, export=chosen.export)
        try:
            config = Config.from_json(merge(base.to_json(), values))
        except UsageError as error:
            raise UsageError(f"{file}: {error}") from error
        return cls(**{**values_for(Config, config), "prompt": values.get("prompt", ""), "preset": name})

    @cached_property
    def configuration(self) -> Config:
        """The configuration of the run. Raises UsageError: a value cannot be used; all of them are named."""
        short = {"steps": self.steps, "guidance": self.guidance, "init": self.init}
        with collected_faults():
            given = {name: value for name, value in short.items() if value is not None}
            config = with_settings(Config(**values_for(Config, self)), given)
        return config

    @cached_property
    def directory(self) -> RunDirectory:
        """The directory of the run."""
        return RunDirectory(run_path(self.out, self.configuration.prompt, self.configuration.seed))

    def check_values(self) -> None:
        """Refuse a configuration that cannot be used."""
        _ = self.configuration

    def check(self) -> None:
        """Make sure that device, weights and disk space are there, and that the prompt can be read."""
        check_runnable(self.configuration, self.directory)
        check_readable(self.configuration)

    def run(self, console: Console) -> int:
        """Make the object."""
        # Locked before torch is loaded: of two commands on one folder the second is refused at once.
        with self.directory.locked():
            self.directory.refuse_taken()
            from dreamfields.runs.run import Run

            return complete(Run.begin(self.directory, self.configuration), console)
