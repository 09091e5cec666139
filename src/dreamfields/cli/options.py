"""The arguments of a command, as the fields of its dataclass declare them, and the help that is made of them."""

import ast
import dataclasses
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import tyro

_VALUES: dict[Any, str] = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}
_INDENT = " " * 30


@dataclass(frozen=True)
class Option:
    """One argument: its flag or placeholder, the type of its values, its default (or MISSING), and what it means.

    `part` says what the settings around it are for; it is empty for those of the command itself.
    """

    name: str
    hint: Any
    default: Any
    text: str
    part: str

    @property
    def is_flag(self) -> bool:
        """Whether it is given by name."""
        return self.name.startswith("--")

    @property
    def is_common(self) -> bool:
        """Whether people use it: its name has no dot, and it is no weight."""
        return "." not in self.name and not self.name.endswith("-weight")


def list_options(kind: type[Any], default: Any = None, prefix: str = "", part: str = "") -> Iterator[Option]:
    """Yield the arguments of a dataclass, those of nested ones with dotted names; values are those of `default`."""
    hints, texts = get_type_hints(kind, include_extras=True), _field_texts(kind)
    for entry in dataclasses.fields(kind):
        extras = getattr(hints[entry.name], "__metadata__", ())
        metavars = [extra.metavar for extra in extras if getattr(extra, "metavar", None)]
        hint, text = _bare(hints[entry.name]), texts.get(entry.name, "")
        value = entry.default if entry.default_factory is MISSING else entry.default_factory()
        if default is not None:
            value = getattr(default, entry.name)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            is_flat = any(getattr(extra, "name", None) == "" for extra in extras)
            yield from list_options(hint, value, prefix if is_flat else f"{prefix}{entry.name}.", text)
        elif tyro.conf.Positional in extras:
            yield Option(metavars[0] if metavars else entry.name.upper(), hint, value, text, part)
        else:
            yield Option(f"--{prefix}{entry.name}".replace("_", "-"), hint, value, text, part)


def help_text(kind: type[Any], prog: str, default: Any, width: int, *, everything: bool) -> str:
    """Return the help of a command: the common flags, or all of them.

    Args:
        kind: the command.
        prog: how it is called, such as `dreamfields generate`.
        default: values of what is not given; None for those of the class.
        width: characters a line.
        everything: whether to show all flags.
    """
    options = list(list_options(kind, default))
    shown = [option for option in options if everything or option.is_common]
    places = [one.name if one.default is MISSING else f"[{one.name}]" for one in shown if not one.is_flag]
    lines = [" ".join(["usage:", prog, *places, "[OPTIONS]"]), "", *textwrap.wrap(class_text(kind), width)]
    for part, members in groupby(shown, lambda option: option.part):
        lines += ["", f"{part.rstrip('.') or 'arguments'}:"]
        for option in members:
            lines += _row(option, width)
    if len(shown) < len(options):
        lines += ["", f"--help-all shows all {sum(option.is_flag for option in options)} flags"]
    return "\n".join(lines)


def class_text(kind: type[Any]) -> str:
    """Return the docstring of a class on one line, read from its source: `python -OO` drops docstrings."""
    definition = _classes(kind.__module__)[kind.__name__]
    return " ".join((ast.get_docstring(definition) or "").split())


def _row(option: Option, width: int) -> list[str]:
    """Return the lines of one argument: its name and values to the left, its meaning and default to the right."""
    head, text = f"  {option.name}", option.text
    if option.is_flag:
        head += f" {_off(option.name) if option.hint is bool else _values(option.hint)}"
        if option.default not in (MISSING, None, "", ()):
            text += f" (default: {_shown(option.default)})"
    above, first = ([], head.ljust(len(_INDENT))) if len(head) < len(_INDENT) - 1 else ([head], _INDENT)
    return above + textwrap.wrap(text, width, initial_indent=first, subsequent_indent=_INDENT, break_on_hyphens=False)


def _off(flag: str) -> str:
    """Return the words for the flag that turns a switch off."""
    part, dot, name = flag.removeprefix("--").rpartition(".")
    return f"| --{part}{dot}no-{name}"


def _values(hint: Any) -> str:
    """Return the placeholder of a flag's values."""
    if get_origin(hint) is typing.Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return " ".join("..." if item is Ellipsis else _values(item) for item in get_args(hint))
    return _VALUES[hint]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _bare(hint: Any) -> Any:
    """Return a type without `Annotated` and without None."""
    while get_origin(hint) in (typing.Annotated, types.UnionType, typing.Union):
        hint = next(option for option in get_args(hint) if option is not types.NoneType)
    return hint


def _field_texts(kind: type[Any]) -> dict[str, str]:
    """Return the string below each field of a dataclass, its parents' among them, on one line."""
    texts: dict[str, str] = {}
    for owner in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        for field, below in pairwise(_classes(owner.__module__)[owner.__name__].body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = " ".join(text.split())
    return texts


@cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    """Return the syntax trees of the classes of a module."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
