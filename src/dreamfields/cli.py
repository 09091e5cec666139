"""The command line: `dreamfields COMMAND ...`, derived from the same dataclasses as the Python API.

Everything that can be checked without torch is checked before torch is loaded, so a mistake costs no waiting.
"""

import dataclasses
import sys
import typing
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import tyro
from rich.console import Console

from dreamfields import __version__, models, presets
from dreamfields.arguments import parse_as
from dreamfields.config import Config
from dreamfields.devices import Device, check_device
from dreamfields.errors import UsageError
from dreamfields.export.paths import CameraPath, Keyframe, Orbit, read_path
from dreamfields.export.settings import ExportSettings, Pass
from dreamfields.guidance.hub import KNOWN
from dreamfields.guidance.weights import check_weights
from dreamfields.optimize.footprint import check_space, run_bytes
from dreamfields.optimize.run_directory import RunDirectory, run_path
from dreamfields.optimize.settings import Recipe
from dreamfields.records import read_record
from dreamfields.settings import Range, collected_faults, unknown_name
from dreamfields.terminal import console_on, guarded

Prompt = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class Generate:
    """Make a 3D object of a sentence: a folder with mesh, video, pictures and all that is needed to resume."""

    prompt: Prompt = ""
    """What to make, in quotes."""
    preset: str = presets.DEFAULT
    """draft (~35 s), quick (~150 s) or standard (~10 minutes), on two CPU cores."""
    seed: int = 0
    """Same seed, same machine, same object."""
    steps: int | None = None
    """Steps of the optimiser; the preset's if not given."""
    out: Path = Path("runs")
    """Folder in which the run gets its own."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    """How it is made."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """What is kept."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, exactly where it stopped."""

    run: RunPath
    """The run's folder."""


@dataclass(frozen=True)
class Render:
    """Render a run's object from any side to a PNG."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The picture; RUN/render.png if not given."""
    azimuth_deg: float = 30.0
    """Degrees around the object; 0 is the front."""
    elevation_deg: float = 20.0
    """Degrees above the horizon."""
    size: int = 512
    """Pixels a side."""
    zoom: float = 1.0
    """How much larger than framed to fill the picture."""
    show: Pass = "colour"
    """What the picture shows: colour, opacity, depth, normal, or the shape alone, textureless."""
    transparent: bool = False
    """Leave the background out instead of painting it."""


@dataclass(frozen=True)
class Video:
    """Film a run's object along a camera's path."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The video; its ending is the format: .mp4, .webm, .gif or .webp. RUN/video.mp4 if not given."""
    path: Path | None = None
    """A JSON file with the camera's path: orbit, dolly-zoom, spiral or keyframes; one turn if not given."""
    show: Pass = "colour"
    """What it shows: colour, opacity, depth, normal, or the shape alone, textureless."""
    size: int = 384
    """Pixels a side."""
    fps: int = 24
    """Frames a second."""


@dataclass(frozen=True)
class Export:
    """Write a run's object as a mesh, or its raw field."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The file; its ending is the format: .glb, .obj, .ply, .stl, .3mf, .usdz, .npz, or .html for a page that shows it.
    RUN/object.glb if not given."""
    size_mm: float = 100.0
    """Largest extent in millimetres, for .stl, .3mf and .usdz."""
    mesh_cells: int | None = None
    """Cells a side of the lattice the surface is found on; the run's if not given, as with all below."""
    max_faces: int | None = None
    """Triangles the mesh is simplified to."""
    level: float | None = None
    """Density at which the surface lies, in inverse scene units."""
    smoothing: int | None = None
    """Rounds of smoothing."""
    texture_size: int | None = None
    """Texels a side of the texture; 0 for vertex colours alone."""


@dataclass(frozen=True)
class View:
    """Show a run on a local page, live while it is made: latest render, score curve, the mesh to turn."""

    run: RunPath
    """The run's folder."""
    port: int = 8350
    """Port on 127.0.0.1; 0 takes a free one."""


@dataclass(frozen=True)
class Evaluate:
    """Let a model that never guides judge views of a run that were never trained on."""

    run: RunPath
    """The run's folder."""
    classes: tuple[str, ...] = ()
    """ImageNet class names that count as right; the one nearest to the prompt if not given."""


@dataclass(frozen=True)
class Doctor:
    """Tell what this machine has and what is missing."""


@dataclass(frozen=True)
class Models:
    """List, download or verify models for clip guidance: models list | download ID | verify [ID]."""

    action: Annotated[models.Action, tyro.conf.Positional]
    """What to do."""
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")] = ""
    """The model's id on the hub, such as openai/clip-vit-base-patch16."""
    revision: str = "main"
    """Branch, tag or commit to download."""


HeavyCommand = Generate | Resume | Render | Video | Export | Evaluate | Doctor
Command = HeavyCommand | View | Models


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `dreamfields.errors` for what the codes mean."""
    console, errors = console_on(sys.stdout), console_on(sys.stderr)
    with guarded(errors) as outcome, ExitStack() as held:
        command = parse(list(sys.argv[1:] if arguments is None else arguments), console)
        if command is None:
            return 0
        # Held until the end, so that of two commands on one folder the second is refused before it loads anything.
        directory = preflight(command, held)
        if isinstance(command, Models):
            return models.run(command.action, command.model, command.revision, console)
        if isinstance(command, View):
            # Loads torch only once there is something to show.
            from dreamfields.studio import serve

            return serve.view(command.run, command.port, console)
        # Imported only now: it loads torch, and everything that can be wrong without it has been checked.
        from dreamfields import commands

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
    if name not in COMMANDS:
        raise UsageError(unknown_name(name, list(COMMANDS), "command"))
    kind = COMMANDS[name]
    default: Any = generate_default(rest) if kind is Generate else None
    with collected_faults():
        command: Command = parse_as(kind, rest, f"dreamfields {name}", default)
        if isinstance(command, Generate):
            configuration(command)
    return command


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
            refuse_odd(command)
            read_record(RunDirectory(command.run))
            return RunDirectory(command.run)
        case Models(action="download", model=""):
            raise UsageError(f"name a model, for example: dreamfields models download {next(iter(KNOWN))}")
        case Doctor() | Models():
            return RunDirectory(Path())


def refuse_odd(command: Command) -> None:
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


def configuration(command: Generate) -> Config:
    """Return the configuration that `generate` asks for.

    Raises:
        UsageError: a value cannot be used.
    """
    with collected_faults():
        recipe = command.recipe
        if command.steps is not None:
            recipe = replace(recipe, optimize=replace(recipe.optimize, steps=command.steps))
        config = Config(
            prompt=command.prompt,
            seed=command.seed,
            device=typing.cast(Device, command.device),
            threads=command.threads,
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
    rows = [f"  {name:9} {(kind.__doc__ or '').splitlines()[0]}" for name, kind in COMMANDS.items()]
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
        "doctor": Doctor,
        "models": Models,
    }
)
