"""The arguments of a command, as the fields of its dataclass declare them, and the help that is made of them."""

import ast
import dataclasses
import inspect
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import tyro

_METAVARS: dict[Any, str] = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}
_COLUMN = 30


@dataclass(frozen=True)
class Option:
    """One argument of a command.

    Attributes:
        name: `--render.size`; the placeholder of a positional argument, such as `PROMPT`.
        hint: the type of its values, without `Annotated` and without None.
        default: its value if it is not given; `dataclasses.MISSING` if it must be.
        help: what it means.
        part: what the settings around it are for; empty for those of the command itself.
    """

    name: str
    hint: Any
    default: Any
    help: str
    part: str

    @property
    def is_flag(self) -> bool:
        """Whether it is given by name."""
        return self.name.startswith("--")


def list_options(kind: type[Any], default: Any = None, prefix: str = "", part: str = "") -> Iterator[Option]:
    """Yield the arguments of a dataclass, those of nested ones with dotted names; values are those of `default`."""
    hints, texts = get_type_hints(kind, include_extras=True), _field_texts(kind)
    for entry in dataclasses.fields(kind):
        extras = get_args(hints[entry.name])[1:] if get_origin(hints[entry.name]) is typing.Annotated else ()
        hint, text = _bare(hints[entry.name]), texts.get(entry.name, "")
        value = _default(entry) if default is None else getattr(default, entry.name)
        if dataclasses.is_dataclass(hint):
            is_flat = any(getattr(extra, "name", None) == "" for extra in extras)
            yield from list_options(hint, value, prefix if is_flat else f"{prefix}{entry.name}.", text)  # type: ignore[arg-type]
        elif tyro.conf.Positional in extras:
            metavars = [extra.metavar for extra in extras if getattr(extra, "metavar", None)]
            yield Option((metavars or [entry.name.upper()])[0], hint, value, text, part)
        else:
            yield Option(f"--{prefix}{entry.name}".replace("_", "-"), hint, value, text, part)


def help_text(kind: type[Any], prog: str, default: Any, width: int, *, everything: bool) -> str:
    """Return the help of a command: its own flags, or those of all parts of the pipeline, too.

    Args:
        kind: the command.
        prog: how it is called, such as `dreamfields generate`.
        default: values of what is not given; None for those of the class.
        width: characters a line.
        everything: whether to show flags with a dot in their names.
    """
    options = list(list_options(kind, default))
    shown = [option for option in options if everything or "." not in option.name]
    places = [f"{'[' * _is_optional(one)}{one.name}{']' * _is_optional(one)}" for one in shown if not one.is_flag]
    lines = [" ".join(["usage:", prog, *places, "[OPTIONS]"]), "", *textwrap.wrap(inspect.getdoc(kind) or "", width)]
    for part, members in groupby(shown, lambda option: option.part):
        lines += ["", f"{part.rstrip('.') or 'arguments'}:"]
        for option in members:
            lines += _row(option, width)
    if len(shown) < len(options):
        lines += ["", f"--help-all shows all {sum(option.is_flag for option in options)} flags"]
    return "\n".join(lines)


def _row(option: Option, width: int) -> list[str]:
    """Return the lines of one argument: its name and values to the left, its meaning and default to the right."""
    head = f"  {option.name} {_metavar(option)}" if option.is_flag else f"  {option.name}"
    default = _shown(option.default)
    text = f"{option.help} ({default})" if default and option.is_flag else option.help
    below = [] if len(head) < _COLUMN - 1 else [head]
    indent = " " * _COLUMN
    first = indent if below else f"{head:{_COLUMN}}"
    return below + textwrap.wrap(text, width, initial_indent=first, subsequent_indent=indent, break_on_hyphens=False)


def _metavar(option: Option) -> str:
    """Return the placeholder of a flag's values; for a switch, the flag that turns it off."""
    if option.hint is bool:
        part, _, name = option.name.removeprefix("--").rpartition(".")
        return f"| --{part}{'.' * bool(part)}no-{name}"
    return _values(option.hint)


def _values(hint: Any) -> str:
    if get_origin(hint) is typing.Literal:
        return "|".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        first, *rest = get_args(hint)
        return f"{_values(first)} ..." if Ellipsis in rest else " ".join(map(_values, (first, *rest)))
    return _METAVARS[hint]


def _shown(value: Any) -> str:
    """Return the words about a default value; none where there is nothing to say."""
    if value is dataclasses.MISSING or value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"default: {'on' if value else 'off'}"
    return f"default: {' '.join(map(str, value)) if isinstance(value, tuple) else value}"


def _is_optional(option: Option) -> bool:
    return option.default is not dataclasses.MISSING


def _default(entry: "dataclasses.Field[Any]") -> Any:
    return entry.default_factory() if entry.default_factory is not dataclasses.MISSING else entry.default


def _bare(hint: Any) -> Any:
    """Return a type without `Annotated` and without None."""
    while get_origin(hint) in (typing.Annotated, types.UnionType, typing.Union):
        hint = next(option for option in get_args(hint) if option is not types.NoneType)
    return hint


@cache
def _field_texts(kind: type[Any]) -> dict[str, str]:
    """Return the string below each field of a dataclass, its parents' among them, on one line."""
    texts: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        for field, text in pairwise(_class_bodies(owner.__module__).get(owner.__name__, [])):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if is_text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                texts[field.target.id] = " ".join(str(text.value.value).split())  # type: ignore[attr-defined]
    return texts


@cache
def _class_bodies(module: str) -> dict[str, list[ast.stmt]]:
    """Return the statements of each class of a module; none of one without source."""
    if module == "builtins":
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
