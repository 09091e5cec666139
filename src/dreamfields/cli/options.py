"""The arguments of a command, as the fields of its dataclass declare them: their help, and how words become values."""

import ast
import dataclasses
import difflib
import inspect
import re
import sys
import textwrap
import types
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from itertools import groupby, pairwise, zip_longest
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from dreamfields.errors import UsageError
from dreamfields.settings import collected_faults

FLAT: Final = "flat"
"""Marks a field of nested settings whose name is left out of their flags."""
Parsed = TypeVar("Parsed")
_INDENT: Final = " " * 30
_VALUES: Final[dict[Any, str]] = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}


@dataclass(frozen=True)
class Positional:
    """Marks a field that is given by its place; `name` stands for it in the help, or else the field's own."""

    name: str = ""


@dataclass(frozen=True)
class Option:
    """One argument: its flag or placeholder, the type of its values, its default (or MISSING), and what it means.

    `part` says what the settings around it are for, empty for the command's own; `path` holds the fields' names.
    """

    name: str
    hint: Any
    default: Any
    text: str
    part: str
    path: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    @property
    def is_flag(self) -> bool:
        """Whether it is given by name."""
        return self.name.startswith("--")

    @property
    def off(self) -> str:
        """The flag that turns a switch off."""
        part, dot, name = self.name.removeprefix("--").rpartition(".")
        return f"--{part}{dot}no-{name}"

    @property
    def most(self) -> int:
        """How many values it takes at most."""
        items = get_args(self.hint) if get_origin(self.hint) is tuple else (self.hint,)
        return sys.maxsize if Ellipsis in items else len(items)


def list_options(
    kind: type[Any], default: Any = None, prefix: str = "", part: str = "", path: tuple[str, ...] = ()
) -> Iterator[Option]:
    """Yield the arguments of a dataclass, those of nested ones with dotted names; values are those of `default`."""
    hints, texts = get_type_hints(kind, include_extras=True), _field_texts(kind)
    for entry in dataclasses.fields(kind):
        extras = getattr(hints[entry.name], "__metadata__", ())
        hint, text, here = _bare(hints[entry.name]), texts.get(entry.name, ""), (*path, entry.name)
        value = entry.default if entry.default_factory is MISSING else entry.default_factory()
        if default is not None:
            value = getattr(default, entry.name)
        if dataclasses.is_dataclass(hint):
            yield from list_options(hint, value, prefix if FLAT in extras else f"{prefix}{entry.name}.", text, here)
        else:
            places = [extra.name or entry.name.upper() for extra in extras if isinstance(extra, Positional)]
            name = places[0] if places else f"--{prefix}{entry.name}".replace("_", "-")
            yield Option(name, hint, value, text, part, here)


def help_text(kind: type[Any], prog: str, default: Any, width: int, *, everything: bool) -> str:
    """Return the help of the command called `prog`, in lines of `width` characters, with the values of `default`.

    It explains the flags without a dot in their names, or `everything`.
    """
    options = list(list_options(kind, default))
    shown = [option for option in options if everything or "." not in option.name]
    places = [one.name if one.default is MISSING else f"[{one.name}]" for one in shown if not one.is_flag]
    lines = [" ".join(["usage:", prog, *places, "[OPTIONS]"]), "", *textwrap.wrap(inspect.getdoc(kind) or "", width)]
    for part, members in groupby(shown, lambda option: option.part):
        lines += ["", f"{part.rstrip('.') or 'arguments'}:"]
        for option in members:
            lines += _row(option, width)
    if len(shown) < len(options):
        lines += ["", f"--help-all shows all {sum(option.is_flag for option in options)} flags"]
    return "\n".join(lines)


def parse_as(kind: type[Parsed], arguments: Iterable[str], default: Parsed | None = None) -> Parsed:
    """Return a dataclass of options made from arguments, and from `default` where they say nothing.

    Raises UsageError: an option is unknown (the nearest is offered), or values are missing, of the wrong kind or out of
    range; all faults are named at once.
    """
    options = list(list_options(kind, default))
    values: dict[tuple[str, ...], Any] = {}
    with collected_faults() as faults:
        given, unknown = _assign(arguments, options)
        for option in options:
            values[option.path] = option.default
            try:
                if option.path in given or option.default is MISSING:
                    values[option.path] = _convert(option, given.get(option.path, []))
            except UsageError as error:
                faults.append(str(error))
        faults += [_unknown(word, [option.name for option in options if option.is_flag]) for word in unknown[:1]]
        if MISSING in values.values():  # There is no command whose values could be checked further.
            raise UsageError(faults.pop())
        command = _build(kind, values)
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


def _assign(arguments: Iterable[str], options: Iterable[Option]) -> tuple[dict[tuple[str, ...], list[str]], list[str]]:
    """Return the words given to each option, by its path, and the words that no option takes."""
    flags = {option.name: option for option in options if option.is_flag}
    switches = {option.off: option for option in flags.values() if option.hint is bool}
    given: dict[tuple[str, ...], list[str]] = {}
    places, unknown, words = list[str](), list[str](), deque(arguments)
    while words:
        word = words.popleft()
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if word == "--":  # All that follows goes by its place.
            places += words
            break
        if name in switches and not equals:
            given[switches[name].path] = ["off"]
        elif option := flags.get(name):
            taken = given[option.path] = [value] if equals else ["on"] if option.hint is bool else []
            while words and len(taken) < option.most and not words[0].startswith("--"):
                taken.append(words.popleft())
        else:
            (unknown if re.match(r"--|-[^\W\d]", word) else places).append(word)
    for option in options:
        if places and not option.is_flag:
            given[option.path], places = places[: option.most], places[option.most :]
    return given, unknown + places


def _convert(option: Option, words: Sequence[str]) -> Any:
    """Return the value that words give to an option. Raises UsageError: they are too few or of the wrong kind."""
    if len(words) < option.most < sys.maxsize:
        takes = f"argument '{option.name}', which takes {_values(option.hint)}: {option.text.split(';')[0].rstrip('.')}"
        raise UsageError(f"Missing value for {takes}; the command's --help says more")
    if get_origin(option.hint) is tuple:
        return tuple(_value(option.name, get_args(option.hint)[0], word) for word in words)
    no_value = words[0] == "None" and option.is_flag and option.hint is not str
    return None if no_value else _value(option.name, option.hint, words[0])


def _value(name: str, hint: Any, word: str) -> Any:
    """Return a word as a value of one type."""
    choices = {str(choice): choice for choice in get_args(hint)} or ({"on": True, "off": False} if hint is bool else {})
    try:
        return choices[word] if choices else hint(word)
    except (KeyError, ValueError):
        wanted = f"one of {', '.join(choices)}" if choices else "a whole number" if hint is int else "a number"
        raise UsageError(f"{name} is {word[:80]!r}; it must be {wanted}") from None


def _build(kind: type[Parsed], values: Mapping[tuple[str, ...], Any]) -> Parsed:
    """Return a dataclass made of the values of its fields, by their paths through nested dataclasses."""
    own, hints = {path[0]: value for path, value in values.items()}, get_type_hints(kind)
    for name in {path[0] for path in values if len(path) > 1}:
        own[name] = _build(hints[name], {path[1:]: value for path, value in values.items() if path[0] == name})
    return kind(**own)


def _unknown(given: str, known: list[str]) -> str:
    """Return the sentence for an option that does not exist, with the nearest that does."""
    if not given.startswith("-"):
        return f"there is one argument too many: {given[:80]!r}; put a prompt of several words in quotes"
    name = given.split("=")[0][:80]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else "the command's --help lists all"
    return f"there is no option {name}; {hint}"


def _row(option: Option, width: int) -> list[str]:
    """Return the lines of one argument: its name and values to the left, its meaning and default to the right."""
    head, text, default = f"  {option.name}", option.text, option.default
    if option.is_flag:
        head += f" | {option.off}" if option.hint is bool else f" {_values(option.hint)}"
        if default not in (MISSING, None, "", ()):
            shown = ("off", "on")[default] if isinstance(default, bool) else default
            text += f" (default: {' '.join(map(str, shown)) if isinstance(shown, tuple) else shown})"
    above, first = ([], head.ljust(len(_INDENT))) if len(head) < len(_INDENT) - 1 else ([head], _INDENT)
    return above + textwrap.wrap(text, width, initial_indent=first, subsequent_indent=_INDENT, break_on_hyphens=False)


def _values(hint: Any) -> str:
    """Return the placeholder of an option's values."""
    if get_origin(hint) is typing.Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return " ".join("..." if item is Ellipsis else _values(item) for item in get_args(hint))
    return _VALUES[hint]


def _bare(hint: Any) -> Any:
    """Return a type without `Annotated` and without None."""
    while get_origin(hint) in (typing.Annotated, types.UnionType, typing.Union):
        hint = next(option for option in get_args(hint) if option is not types.NoneType)
    return hint


def _field_texts(kind: type[Any]) -> dict[str, str]:
    """Return the string below each field of a dataclass, its parents' among them, on one line."""
    texts: dict[str, str] = {}
    for owner in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        for field, below in pairwise(_class_bodies(owner.__module__).get(owner.__name__, [])):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(text.split())
    return texts


@cache
def _class_bodies(module: str) -> dict[str, list[ast.stmt]]:
    """Return the statements of each class of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
