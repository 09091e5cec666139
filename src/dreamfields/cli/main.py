"""The command line: `dreamfields COMMAND ...`, derived from the same dataclasses as the Python API.

Everything that can be checked without torch is checked before torch is loaded, so a mistake costs no waiting.
"""

import dataclasses
import sys
import typing
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from rich.console import Console

from dreamfields import __version__, presets
from dreamfields.cli import models
from dreamfields.cli.parsing import parse_as
from dreamfields.cli.terminal import console_on, guarded
from dreamfields.cli.verbs import (
    Command,
    Doctor,
    Evaluate,
    Export,
    Generate,
    Lit,
    Models,
    Render,
    Resume,
    Retrieval,
    Video,
    View,
)
from dreamfields.config import Config
from dreamfields.devices import Device, check_device
from dreamfields.errors import StorageError, UsageError
from dreamfields.evaluate.judges import check_judge_weights
from dreamfields.export.pictures.paths import CameraPath, Keyframe, Orbit, read_path
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.clip.hub import KNOWN
from dreamfields.guidance.load import check_weights
from dreamfields.runs.directory import RunDirectory, run_path
from dreamfields.runs.disk import check_space, run_bytes
from dreamfields.runs.record import read_record
from dreamfields.settings import Range, collected_faults, unknown_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `dreamfields.errors` for what the codes mean."""
    console, errors = console_on(sys.stdout), console_on(sys.stderr)
    with guarded(errors) as outcome, ExitStack() as held:
        command = parse(list(sys.argv[1:] if arguments is None else arguments), console)
        if command is None:
            return 0
        refuse_lost_folder()
        # Held until the end, so that of two commands on one folder the second is refused before it loads anything.
        directory = preflight(command, held)
        if isinstance(command, Models):
            return models.run(command.action, command.model, command.revision, console)
        if isinstance(command, View):
            # Loads torch only once there is something to show.
            from dreamfields.studio import serve

            return serve.view(command.run, command.port, console)
        # Imported only now: it loads torch, and everything that can be wrong without it has been checked.
        from dreamfields.cli import commands

        return commands.run(command, directory, console)
    return outcome.code


def parse(arguments: list[str], console: Console) -> Command | None:
    """Return the command that the arguments ask for; None if they ask for help, which is then shown.

    Raises:
        UsageError: there is no such command, option or preset; the nearest is offered.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        console.print(overview(), soft_wrap=True, markup=False)
        return None
    if arguments[0] == "--version":
        console.print(__version__)
        return None
    name, rest = arguments[0], arguments[1:]
    if f"{name} {rest[0] if rest else ''}" in COMMANDS:  # A command of two words.
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS:
        raise UsageError(unknown_name(name, list(COMMANDS), "command"))
    kind = COMMANDS[name]
    default: Any = generate_default(rest) if kind is Generate else None
    with collected_faults():
        command: Command = parse_as(kind, rest, f"dreamfields {name}", default)
        if isinstance(command, Generate):
            configuration(command)
    return command


def refuse_lost_folder() -> None:
    """Refuse to work in a folder that has been deleted, where torch itself ends in a message nobody understands.

    Raises:
        StorageError: the current folder is gone.
    """
    try:
        Path.cwd()
    except FileNotFoundError as lost:
        raise StorageError("the current folder has been deleted; go to another one with cd and try again") from lost


def preflight(command: Command, held: ExitStack) -> RunDirectory:
    """Refuse what can be refused without torch, and return the folder to work in, locked where it is worked in.

    Raises:
        DreamfieldsError: one sentence about what cannot be used.
    """
    match command:
        case Generate():
            config = configuration(command)
            directory = RunDirectory(run_path(command.out, config.prompt, config.seed))
            refuse_unworkable(config, directory)
            held.enter_context(directory.locked())
            directory.refuse_taken()
            return directory
        case Resume():
            directory = RunDirectory(command.run)
            refuse_unworkable(read_record(directory).config, directory)
            held.enter_context(directory.locked())
            return directory
        case Render() | Video() | Export() | Evaluate() | View():
            check_ranges(command)
            read_record(RunDirectory(command.run))
            return RunDirectory(command.run)
        case Retrieval():
            for run in run_folders(command.runs):
                read_record(RunDirectory(run))
            check_judge_weights(command.judge)
            return RunDirectory(Path())
        case Lit():
            check_lit(command)
            return RunDirectory(Path())
        case Models(action="download", model=""):
            raise UsageError(f"name a model, for example: dreamfields models download {next(iter(KNOWN))}")
        case Doctor() | Models():
            return RunDirectory(Path())


def check_ranges(command: Command) -> None:
    """Refuse options whose values cannot be used.

    Raises:
        UsageError: there is one.
    """
    match command:
        case Render():
            check_number("size", command.size, Range(1, 8192))
            Keyframe(command.azimuth_deg, command.elevation_deg, zoom=command.zoom)
        case Video():
            check_number("size", command.size, Range(1, 4096))
            check_number("fps", command.fps, Range(1, 60))
            camera_path(command)
        case Export():
            check_number("size-mm", command.size_mm, Range(0.1, 100_000.0))
            replace(ExportSettings(), **changed(command))
        case _:
            pass


def refuse_unworkable(config: Config, directory: RunDirectory) -> None:
    """Make sure that device, weights and room on the disk are there.

    Raises:
        DreamfieldsError: one of them is not.
    """
    check_device(config.device)
    check_weights(config.recipe.guidance)
    check_space(directory.path, run_bytes(config.recipe, config.export.most_bytes()))


def check_lit(command: Lit) -> None:
    """Refuse what `lit` cannot do.

    Raises:
        UsageError: data or the place of the result are missing, or something is there already.
    """
    if not command.data:
        raise UsageError(f"say on what data, for example: dreamfields lit {command.action} FOLDER")
    if command.action == "train" and command.out is None:
        raise UsageError("say where to write the adapters, for example: --out adapters.safetensors")
    if command.action == "train" and command.out is not None and command.out.exists():
        raise UsageError(f"{command.out} is there already; move it away or choose another --out")
    if command.action == "evaluate" and (len(command.data) > 1 or command.count < 1):
        raise UsageError("evaluate takes one folder, and a --count of at least 1")


def run_folders(given: Sequence[Path]) -> list[Path]:
    """Return the runs among folders: each that is one, and those within each that is none.

    Raises:
        UsageError: there is none at all.
    """
    runs = []
    for folder in given:
        within = [] if (folder / "run.json").exists() else sorted(path.parent for path in folder.glob("*/run.json"))
        runs += within or [folder]
    if not runs:
        raise UsageError("name the runs to judge: dreamfields evaluate retrieval RUNS...")
    return runs


def configuration(command: Generate) -> Config:
    """Return the configuration that `generate` asks for.

    Raises:
        UsageError: a value cannot be used.
    """
    with collected_faults():
        recipe = command.recipe
        if command.steps is not None:
            recipe = replace(recipe, optimize=replace(recipe.optimize, steps=command.steps))
        if command.guidance is not None:
            recipe = replace(recipe, guidance=replace(recipe.guidance, name=command.guidance))
        config = Config(
            prompt=command.prompt,
            seed=command.seed,
            device=typing.cast(Device, command.device),
            threads=command.threads,
            prompts=command.prompts,
            recipe=recipe,
            export=command.export,
        )
    return config


def changed(command: Export) -> dict[str, Any]:
    """Return the settings that `export` changes, by name."""
    names = [entry.name for entry in dataclasses.fields(ExportSettings) if hasattr(command, entry.name)]
    return {name: getattr(command, name) for name in names if getattr(command, name) is not None}


def camera_path(command: Video) -> CameraPath:
    """Return the camera's path that `video` asks for.

    Raises:
        UsageError: its file says none.
    """
    return Orbit() if command.path is None else read_path(command.path)


def check_number(name: str, value: float, allowed: Range) -> None:
    """Refuse an option outside its range.

    Raises:
        UsageError: it is.
    """
    if value not in allowed:
        raise UsageError(f"--{name} is {value!r}; it must be {allowed}")


def overview() -> str:
    """Return the text of `dreamfields --help`."""
    rows = [f"  {name:18} {(kind.__doc__ or '').splitlines()[0]}" for name, kind in COMMANDS.items()]
    head = [
        "dreamfields: a sentence in, a 3D object out",
        "",
        "usage: dreamfields COMMAND ... (COMMAND --help says more)",
        "",
    ]
    tail = ["", 'example: dreamfields generate "a teapot" --seed 0']
    return "\n".join([*head, *rows, *tail])


def generate_default(arguments: Sequence[str]) -> Generate:
    """Return `generate`'s defaults under the preset that the arguments name, before they are parsed in full."""
    name = presets.DEFAULT
    for index, argument in enumerate(arguments):
        if argument == "--preset" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif argument.startswith("--preset="):
            name = argument.removeprefix("--preset=")
    chosen = presets.preset(name)
    return Generate(preset=name, recipe=chosen.recipe, export=chosen.export)


COMMANDS: Final[Mapping[str, type[Any]]] = MappingProxyType(
    {
        "generate": Generate,
        "resume": Resume,
        "render": Render,
        "video": Video,
        "export": Export,
        "view": View,
        "evaluate": Evaluate,
        "evaluate retrieval": Retrieval,
        "doctor": Doctor,
        "models": Models,
        "lit": Lit,
    }
)
