"""Settings: frozen dataclasses that check their own ranges and convert to and from JSON.

Each part of the pipeline has subclasses of `Settings` in its own folder. A field's type holds its range
(`Annotated[int, Range(1, 4096)]`); the string below it gives its meaning, unit and origin, and is its help text on the
command line. Command line, run file and Python API use these classes, so all refuse a wrong value with the same
sentence. Nothing here imports torch: settings are checked before anything heavy is loaded.
"""

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints

from dreamfields.errors import UsageError


@dataclass(frozen=True)
class Range:
    """The closed interval that a number must lie in."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        """Tell whether a number lies in the interval; NaN never does."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """Describe the interval in words, without infinite bounds."""
        low, high = (f"{bound:,.0f}" if float(bound).is_integer() else f"{bound:g}" for bound in (self.low, self.high))
        if math.isinf(self.high):
            return f"at least {low}"
        if math.isinf(self.low):
            return f"at most {high}"
        return f"from {low} to {high}"


@dataclass(frozen=True)
class Rising:
    """Two numbers that must be a lower and an upper bound, in that order."""


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)


@contextmanager
def collected_faults() -> Iterator[list[str]]:
    """Collect the faults of all settings made in the block and raise them as one UsageError at its end.

    Callers can add faults to the list yielded. In nested blocks, only the outermost raises.
    """
    faults: list[str] = []
    outer, broken = _collected.get(), False
    token = _collected.set(faults)
    try:
        yield faults
    except UsageError as error:
        faults.append(str(error))
        broken = True
    finally:
        _collected.reset(token)
    if faults and outer is not None and not broken:
        outer += faults
    elif faults:
        raise UsageError("; ".join(dict.fromkeys(faults)))


@dataclass(frozen=True)
class Settings:
    """Base of all settings, which checks all fields. Raises UsageError: fields have wrong types or are out of range."""

    def __post_init__(self) -> None:
        """Check the fields; subclasses that relate two fields extend `faults`."""
        faults, collected = self.faults(), _collected.get()
        if collected is not None:
            collected += faults
        elif faults:
            raise UsageError("; ".join(faults))

    def faults(self) -> list[str]:
        """Return one sentence for each field that cannot be used."""
        hints = get_type_hints(type(self), include_extras=True)
        found = (fault_in(f.name, getattr(self, f.name), hints[f.name]) for f in dataclasses.fields(self))
        return [fault for fault in found if fault]

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values, nested as the classes are."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild settings from JSON values; missing fields keep their defaults.

        Raises UsageError: names are unknown or missing, or values cannot be used; the sentence lists all.
        """
        hints = get_type_hints(cls)
        required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        faults = [f"{name} is missing" for name in sorted(required - values.keys())]
        known: dict[str, Any] = {}
        for name, value in values.items():
            if name not in hints:
                faults.append(unknown_name(name, list(hints), f"setting of {cls.__name__}"))
                continue
            try:
                known[name] = value_from_json(value, hints[name])
            except UsageError as error:
                faults.append(str(error))
        if not required <= known.keys():
            raise UsageError("; ".join(faults))
        try:
            settings = cls(**known)
        except UsageError as error:
            faults.append(str(error))
        if faults:
            raise UsageError("; ".join(faults))
        return settings


def shortened(value: object) -> str:
    """Return a value as sentences quote it: its representation, cut in the middle if it is long."""
    return _SHORT.repr(value)


def unknown_name(given: str, known: list[str], what: str, else_hint: str = "") -> str:
    """Return the sentence for an unknown name, with the nearest known name, or a hint; if empty, all known names."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else else_hint or f"known: {', '.join(sorted(known))}"
    return f"there is no {what} called {shortened(given)}; {hint}"


def merge(base: Mapping[str, Any], values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return nested values with others over them; names that the base does not know are kept."""
    merged = dict(base)
    for name, value in values.items():
        if isinstance(below := base.get(name), Mapping) and isinstance(value, Mapping):
            value = merge(below, value)
        merged[str(name)] = value
    return merged


def value_from_json(value: Any, hint: Any) -> Any:
    """Convert a JSON value to a field's type: tables to settings, lists to tuples. Raises UsageError as `from_json`."""
    if isinstance(hint, type) and issubclass(hint, Settings) and isinstance(value, Mapping):
        return hint.from_json(value)
    if get_origin(hint) is typing.Annotated:
        return value_from_json(value, get_args(hint)[0])
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(value_from_json(part, get_args(hint)[0]) for part in value)
    return value


def fault_in(name: str, value: Any, hint: Any, limits: tuple[Any, ...] = ()) -> str | None:
    """Return the sentence for a field's value that cannot be used, else None."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is typing.Annotated:
        return fault_in(name, value, parts[0], (*limits, *parts[1:]))
    if origin in (types.UnionType, typing.Union):
        (inner,) = (option for option in parts if option is not types.NoneType)
        return None if value is None else fault_in(name, value, inner, limits)
    must_be = f"{name} is {shortened(value)}; it must be"
    if origin is typing.Literal:
        return None if value in parts else f"{must_be} one of {', '.join(map(str, parts))}"
    if not _is_a(value, hint):
        return f"{must_be} {_in_words(hint)}"
    for limit in limits:
        if isinstance(limit, Range) and any(one not in limit for one in (value if origin is tuple else (value,))):
            return f"{must_be} {limit}"
        if isinstance(limit, Rising) and value[0] > value[1]:
            return f"{must_be} a lower and an upper bound in that order"
    return None


def _is_a(value: Any, expected: Any) -> bool:
    origin, parts = get_origin(expected), get_args(expected)
    if origin is tuple and isinstance(value, tuple):
        kinds = parts[:1] * len(value) if Ellipsis in parts else parts
        return len(value) == len(kinds) and all(map(_is_a, value, kinds))
    if origin is Mapping and isinstance(value, Mapping):
        return all(_is_a(one, parts[1]) for one in value.values())
    if expected in (int, float):
        return isinstance(value, (int, expected)) and not isinstance(value, bool)
    return expected is Any or isinstance(value, origin or expected)


def _in_words(expected: Any) -> str:
    origin, parts = get_origin(expected), get_args(expected)
    if origin is tuple:
        count = "" if Ellipsis in parts else f" of {len(parts)} values"
        return f"a list{count}, each {_in_words(parts[0])}"
    if origin is Mapping:
        return "a table by name" if parts[1] is Any else f"{_in_words(parts[1])} by name"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    name = str(getattr(expected, "__name__", expected))
    return names.get(expected) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
