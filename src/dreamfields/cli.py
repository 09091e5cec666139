"""The command line: `dreamfields COMMAND ...`, derived from the same dataclasses as the Python API.

Everything that can be checked without torch is checked before torch is loaded, so a mistake costs no waiting.
"""

import dataclasses
import difflib
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import tyro
from rich.console import Console

from dreamfields import __version__, models, paper, presets
from dreamfields.config import Config
from dreamfields.devices import Device, check_device
from dreamfields.errors import DreamfieldsError, UsageError
from dreamfields.evaluate.judges import judge_member
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.hub import KNOWN
from dreamfields.guidance.weights import JUDGE_TOWER, check_member, check_weights
from dreamfields.optimize.run_directory import RunDirectory, new_run_directory
from dreamfields.optimize.settings import Recipe
from dreamfields.settings import unknown_name

Prompt = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class Generate:
    """Make a 3D object of a sentence: a folder with mesh, video, pictures and all that is needed to resume."""

    prompt: Prompt = ""
    """What to make, in quotes."""
    preset: str = presets.DEFAULT
    """draft (~35 s), quick (~150 s) or standard (~10 minutes), on two CPU cores; paper-lq, paper-mq or paper-hq, Dream
    Fields as published, for a GPU and a CLIP model."""
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
    transparent: bool = False
    """Leave the background out instead of painting it white."""


@dataclass(frozen=True)
class Export:
    """Write a run's object as a mesh."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The file; its ending is the format: .glb, .ply or .stl. RUN/object.glb if not given."""


@dataclass(frozen=True)
class Evaluate:
    """Let a model that never guides judge views of a run that were never trained on."""

    run: RunPath
    """The run's folder."""
    classes: tuple[str, ...] = ()
    """ImageNet class names that count as right; the one nearest to the prompt if not given."""


@dataclass(frozen=True)
class Retrieval:
    """Ask a judge for the own caption of each of several runs among 153, as Dream Fields was judged (R-Precision)."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS")] = ()
    """Folders of runs, or folders that hold such."""
    judge: str = "lit"
    """Who judges: `lit` (a tower that never guides), or `clip:FOLDER-OR-ID`; never a model that guided a run."""
    out: Path = Path("retrieval")
    """Folder for retrieval.json and retrieval.html."""
    samples: int = paper.TEST_SAMPLES
    """Samples a ray; the paper's 512."""


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


HeavyCommand = Generate | Resume | Render | Export | Evaluate | Retrieval | Doctor
Command = HeavyCommand | Models


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `dreamfields.errors` for what the codes mean."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        command = parse(list(sys.argv[1:] if arguments is None else arguments), console)
        if command is None:
            return 0
        preflight(command)
        if isinstance(command, Models):
            return models.run(command.action, command.model, command.revision, console)
        # Imported only now: it loads torch, and everything that can be wrong without it has been checked.
        from dreamfields import commands

        return commands.run(command, console)
    except DreamfieldsError as error:
        errors.print(f"dreamfields: {error}", soft_wrap=True, markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        errors.print("dreamfields: stopped", soft_wrap=True)
        return 130


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
    command: Command
    command, unknown = tyro.cli(kind, args=rest, prog=f"dreamfields {name}", default=default, return_unknown_args=True)
    if unknown:
        raise UsageError(unknown_option(unknown[0], kind))
    return command


def preflight(command: Command) -> None:
    """Refuse what can be refused without torch.

    Raises:
        DreamfieldsError: one sentence about the first thing that cannot be used.
    """
    match command:
        case Generate():
            config = configuration(command)
            check_device(config.device)
            check_weights(config.recipe.guidance)
            new_run_directory(command.out, config.prompt, config.seed)
        case Resume() | Render() | Export() | Evaluate():
            RunDirectory(command.run).read_record()
        case Retrieval():
            for run in run_folders(command.runs):
                RunDirectory(run).read_record()
            check_member(judge_member(command.judge), (JUDGE_TOWER,))
        case Doctor():
            pass
        case Models(action="download", model=""):
            raise UsageError(f"name a model, for example: dreamfields models download {next(iter(KNOWN))}")
        case Models():
            pass


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
    recipe = command.recipe
    if command.steps is not None:
        recipe = replace(recipe, optimize=replace(recipe.optimize, steps=command.steps))
    return Config(
        prompt=command.prompt,
        seed=command.seed,
        device=typing.cast(Device, command.device),
        threads=command.threads,
        recipe=recipe,
        export=command.export,
    )


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


def unknown_option(given: str, kind: type[Any]) -> str:
    """Return the sentence for an option that does not exist, with the nearest that does."""
    if not given.startswith("-"):
        return f"there is one argument too many: {given!r}; put a prompt of several words in quotes"
    known = _option_names(kind)
    near = difflib.get_close_matches(given.split("=")[0], known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "the command's --help lists all"
    return f"there is no option {given.split('=')[0]}; {hint}"


def _option_names(kind: type[Any], prefix: str = "") -> list[str]:
    names = []
    hints = typing.get_type_hints(kind)
    for entry in dataclasses.fields(kind):
        hint = hints[entry.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner = prefix if entry.name == "recipe" else f"{prefix}{entry.name}."
            names += _option_names(hint, inner)
        else:
            names.append(f"--{prefix}{entry.name}".replace("_", "-"))
    return names


COMMANDS: Final[Mapping[str, type[Any]]] = MappingProxyType(
    {
        "generate": Generate,
        "resume": Resume,
        "render": Render,
        "export": Export,
        "evaluate": Evaluate,
        "evaluate retrieval": Retrieval,
        "doctor": Doctor,
        "models": Models,
    }
)
