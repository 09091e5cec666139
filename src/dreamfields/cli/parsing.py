"""Parsing the words of a command line into a command: all mistakes are found and named in one sentence."""

import contextlib
import difflib
import io
import re
import typing
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeVar, get_args, get_origin

import tyro

from dreamfields.cli.options import Option, list_options
from dreamfields.errors import UsageError
from dreamfields.settings import collected_faults

Parsed = TypeVar("Parsed")


def parse_as(kind: type[Parsed], arguments: Sequence[str], prog: str, default: Parsed | None = None) -> Parsed:
    """Return an instance of a dataclass of options made from arguments, and from `default` where they say nothing.

    Raises:
        UsageError: an option is unknown (the nearest is offered), or values are missing, of the wrong kind or out of
            range; all faults are named at once.
    """
    options = {option.name: option for option in list_options(kind) if option.is_flag}
    with collected_faults() as faults:
        rest, wrong = _without_wrong_kinds(arguments, options)
        faults += wrong
        output = io.StringIO()
        try:
            with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
                parsed = tyro.cli(kind, args=rest, prog=prog, default=default, return_unknown_args=True, add_help=False)
        except SystemExit:
            raise UsageError(f"{_plain(output.getvalue())}; {prog} --help says more") from None
        command, unknown = typing.cast(tuple[Parsed, list[str]], parsed)
        faults += [_unknown(given, list(options)) for given in unknown[:1]]
    return command


def value_of(name: str, arguments: Sequence[str]) -> str | None:
    """Return the last value that arguments give to a flag, before they are parsed; None if they give none."""
    found = None
    for word, after in zip_longest(arguments, arguments[1:]):
        if word == name:
            found = after
        elif word.startswith(f"{name}="):
            found = word.removeprefix(f"{name}=")
    return found


def _unknown(given: str, known: list[str]) -> str:
    """Return the sentence for an option that does not exist, with the nearest that does."""
    if not given.startswith("-"):
        return f"there is one argument too many: {given[:80]!r}; put a prompt of several words in quotes"
    if not given.startswith("--"):  # No option has a single dash.
        text = given[:80]
        return f"{text!r} begins with a dash, as options do; a prompt like that comes last, after --: -- {text!r}"
    if given.split("=")[0] in known:
        return f"{given[:80]} comes after --, where all is plain text; put options before --"
    near = difflib.get_close_matches(given.split("=")[0][:80], known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "the command's --help lists all"
    return f"there is no option {given.split('=')[0][:80]}; {hint}"


def _without_wrong_kinds(arguments: Sequence[str], options: Mapping[str, Option]) -> tuple[list[str], list[str]]:
    """Return the arguments without the options whose values are of the wrong kind, and a sentence for each of those.

    Without them the rest can be parsed, and its own faults be found.
    """
    words, rest, faults = list(arguments), [], []
    while words:
        name, has_value, value = words[0].partition("=")
        flag, given = name.replace("_", "-"), [value] if has_value else words[1:2]
        wanted = _wrong_kind(options[flag].hint, given[0]) if flag in options and given else None
        if wanted is None:
            rest.append(words.pop(0))
        else:
            faults.append(f"{flag} is {given[0][:80]!r}; it must be {wanted}")
            del words[: 1 if has_value else 2]
    return rest, faults


def _wrong_kind(hint: Any, given: str) -> str | None:
    """Return in words what a value should be, or None if it is that, or if that is not for this function to say."""
    if given == "None":
        return None
    if hint is int:
        return None if _is(int, given) else "a whole number"
    if hint is float:
        return None if _is(float, given) else "a number"
    if get_origin(hint) is typing.Literal:
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
    """Return the message in a box that tyro drew: the text between its title and the next rule."""
    blocks: list[list[str]] = [[]]
    for line in box.splitlines():
        if re.search(r"[\u2500-]{3}", line):
            blocks.append([])
        else:
            blocks[-1] += re.sub(r"[\u2500-\u257f|]", " ", line).split()
    # Where a terminal cannot draw, the title stands on a line of its own and not in the frame.
    message = [" ".join(block) for block in blocks if block][0 if "\u2500" in box else 1 :]
    return message[0][:400].rstrip(".") if message else "the arguments cannot be understood"
