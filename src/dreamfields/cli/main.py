"""The command line: `dreamfields COMMAND ...`, derived from the same dataclasses as the Python API.

Everything that can be checked without torch is checked before torch is loaded, so a mistake costs no waiting.
A new command is one new file and one line in `COMMANDS`.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.console import Console

from dreamfields import __version__
from dreamfields.cli.command import Command
from dreamfields.cli.doctor import Doctor
from dreamfields.cli.evaluate import Evaluate
from dreamfields.cli.export import Export
from dreamfields.cli.generate import Generate
from dreamfields.cli.lit import Lit
from dreamfields.cli.models import Models
from dreamfields.cli.options import class_text, help_text
from dreamfields.cli.parsing import parse_as
from dreamfields.cli.prior import Prior
from dreamfields.cli.render import Render
from dreamfields.cli.resume import Resume
from dreamfields.cli.retrieval import Retrieval
from dreamfields.cli.runs import Runs
from dreamfields.cli.sketch import Sketch
from dreamfields.cli.terminal import console_on, guarded, say
from dreamfields.cli.video import Video
from dreamfields.cli.view import View
from dreamfields.errors import DreamfieldsError, StorageError, UsageError
from dreamfields.runs.lock import check_platform
from dreamfields.settings import collected_faults, unknown_name

COMMANDS: Final[Mapping[str, type[Command]]] = MappingProxyType(
    {
        "generate": Generate,
        "resume": Resume,
        "sketch": Sketch,
        "render": Render,
        "video": Video,
        "export": Export,
        "view": View,
        "runs": Runs,
        "evaluate": Evaluate,
        "evaluate retrieval": Retrieval,
        "doctor": Doctor,
        "models": Models,
        "lit": Lit,
        "prior": Prior,
    }
)
_HELP: Final = ("-h", "--help", "--help-all")
_WIDEST: Final = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `dreamfields.errors` for what the codes mean."""
    console, errors = console_on(sys.stdout), console_on(sys.stderr)
    with guarded(errors) as outcome:
        command = parse(list(sys.argv[1:] if arguments is None else arguments), console)
        if command is not None:
            check_platform()
            refuse_lost_folder()
            command.check()
            outcome.code = command.run(console)
    return outcome.code


def parse(arguments: list[str], console: Console) -> Command | None:
    """Return the command that the arguments ask for; None if they ask for help, which is then shown.

    Raises UsageError: there is no such command, option or preset, or a value cannot be used; all faults are named.
    """
    if not arguments or arguments[0] in (*_HELP, "--version"):
        _show(__version__ if arguments[:1] == ["--version"] else overview(), console)
        return None
    name, rest = arguments[0], arguments[1:]
    if " ".join(arguments[:2]) in COMMANDS and rest:  # A command of two words.
        name, rest = " ".join(arguments[:2]), rest[1:]
    if name not in COMMANDS:
        raise UsageError(unknown_name(name, list(COMMANDS), "command"))
    kind = COMMANDS[name]
    if any(word in _HELP for word in rest):
        default = None
        with suppress(DreamfieldsError):  # Help is for those, too, whose arguments are not right yet.
            default = kind.defaults([word for word in rest if word not in _HELP])
        width, everything = min(console.width, _WIDEST), "--help-all" in rest
        _show(help_text(kind, f"dreamfields {name}", default, width, everything=everything), console)
        return None
    default = kind.defaults(rest)
    with collected_faults():
        command = parse_as(kind, rest, f"dreamfields {name}", default)
        command.check_values()
    return command


def refuse_lost_folder() -> None:
    """Raise StorageError if the current folder has been deleted, where torch ends in a message nobody understands."""
    try:
        Path.cwd()
    except FileNotFoundError as lost:
        raise StorageError("the current folder has been deleted; go to another one with cd and try again") from lost


def overview() -> str:
    """Return the text of `dreamfields --help`."""
    rows = [f"  {name:18} {class_text(kind)}" for name, kind in COMMANDS.items()]
    head = "dreamfields: a sentence in, a 3D object out\n\nusage: dreamfields COMMAND ... (COMMAND --help says more)\n"
    return "\n".join([head, *rows, "", 'example: dreamfields generate "a teapot" --seed 0'])


def _show(text: str, console: Console) -> None:
    for line in text.splitlines():
        say(console, line)
