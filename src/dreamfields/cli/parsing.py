"""From words on the command line to a command: every mistake in them is found, and all are said in one sentence."""

import contextlib
import dataclasses
import difflib
import io
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints

import tyro

from dreamfields.errors import UsageError
from dreamfields.settings import collected_faults

Option = Any
"""The annotation of the field that an option sets."""


def parse_as(kind: type[Any], arguments: Sequence[str], prog: str, default: Any = None) -> Any:
    """Return an instance of a dataclass of options made from arguments.

    Raises:
        UsageError: an option is unknown (the nearest is offered), or values are missing, of the wrong kind or out of
            range; all faults are named at once.
    """
    options = option_types(kind)
    with collected_faults() as faults:
        rest, wrong = _without_wrong_kinds(arguments, options)
        faults += wrong
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                command, unknown = tyro.cli(kind, args=rest, prog=prog, default=default, return_unknown_args=True)
        except SystemExit as ended:
            if not ended.code:
                raise  # Help was asked for, and has been shown.
            raise UsageError(f"{_plain(said.getvalue())}; {prog} --help says more") from None
        faults += [unknown_option(given, list(options)) for given in unknown[:1]]
    return command


def unknown_option(given: str, known: list[str]) -> str:
    """Return the sentence for an option that does not exist, with the nearest that does."""
    if not given.startswith("-"):
        return f"there is one argument too many: {given[:80]!r}; put a prompt of several words in quotes"
    near = difflib.get_close_matches(given.split("=")[0][:80], known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "the command's --help lists all"
    return f"there is no option {given.split('=')[0][:80]}; {hint}"


def option_types(kind: type[Any], prefix: str = "") -> dict[str, Option]:
    """Return the annotation behind every option of a dataclass, those of nested ones with dotted names."""
    found: dict[str, Option] = {}
    hints = get_type_hints(kind)
    for entry in dataclasses.fields(kind):
        hint = hints[entry.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            inner = prefix if entry.name in ("recipe", "settings", "prompts") else f"{prefix}{entry.name}."
            found |= option_types(hint, inner)
        else:
            found[f"--{prefix}{entry.name}".replace("_", "-")] = hint
    return found


def _without_wrong_kinds(arguments: Sequence[str], options: Mapping[str, Option]) -> tuple[list[str], list[str]]:
    """Return the arguments without the options whose values are of the wrong kind, and a sentence for each of those.

    Without them the rest can be parsed, and its own faults be found.
    """
    rest: list[str] = []
    faults: list[str] = []
    index = 0
    while index < len(arguments):
        name, has_value, value = arguments[index].partition("=")
        option = name.replace("_", "-")
        following = arguments[index + 1 : index + 2]
        taken = arguments[index : index + 1 if has_value else index + 2]
        given = [value] if has_value else following
        wanted = _wrong_kind(options[option], given[0]) if option in options and given else None
        if wanted is None:
            rest.append(arguments[index])
            index += 1
        else:
            faults.append(f"{option} is {given[0][:80]!r}; it must be {wanted}")
            index += len(taken)
    return rest, faults


def _wrong_kind(hint: Option, given: str) -> str | None:
    """Return in words what a value should be, or None if it is that, or if its kind is not one that is known here."""
    origin: Any = get_origin(hint)
    while origin in (typing.Annotated, types.UnionType, typing.Union):
        if given == "None" and types.NoneType in get_args(hint):
            return None
        hint = next(option for option in get_args(hint) if option is not types.NoneType)
        origin = get_origin(hint)
    if hint is int:
        return None if _is(int, given) else "a whole number"
    if hint is float:
        return None if _is(float, given) else "a number"
    if origin is typing.Literal:
        choices = [str(choice) for choice in get_args(hint)]
        return None if given in choices else f"one of {', '.join(choices)}"
    return None


def _is(kind: type[int] | type[float], given: str) -> bool:
    try:
        kind(given)
    except ValueError:
        return False
    return True


def _plain(box: str) -> str:
    """Return the message of a box: what stands below its title and above the next line across."""
    blocks: list[list[str]] = [[]]
    for line in box.splitlines():
        if re.search(r"[\u2500-]{3}", line):
            blocks.append([])
        else:
            blocks[-1] += re.sub(r"[\u2500-\u257f|]", " ", line).split()
    # Where a terminal cannot draw, the title stands on a line of its own and not in the frame.
    message = [" ".join(block) for block in blocks if block][0 if "\u2500" in box else 1 :]
    return message[0][:400].rstrip(".") if message else "the arguments cannot be understood"
