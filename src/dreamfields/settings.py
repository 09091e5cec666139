"""Settings: frozen dataclasses that check their own ranges and convert to and from JSON.

Each part of the pipeline keeps its settings in its own folder as a frozen subclass of `Settings`. A field's type holds
its range (`Annotated[int, Range(1, 4096)]`), the string below it says its meaning, unit and origin. Command line, run
file and Python API derive from these classes, so all refuse a wrong value with the same sentence. Nothing here imports
torch: settings are checked before anything heavy is loaded.
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
    """The closed interval a number must lie in; infinite bounds are left out of the sentence."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        """Tell whether a number lies in the interval; NaN never does."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """Say the interval in words."""
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
    """Collect the faults of all settings made in the block, and refuse them once at its end, as the command line does.

    Other faults can be added to the list yielded. An inner block leaves the refusal to the outer one.

    Raises UsageError: a field of any of the settings cannot be used.
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
    """Base of all settings: checks every field when made, and names every fault at once.

    Raises UsageError: a field has a wrong type or lies outside its range.
    """

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

        Raises UsageError: names are unknown or missing, or values cannot be used; all are named at once.
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


def unknown_name(given: str, known: list[str], what: str) -> str:
    """Return the sentence for a name that does not exist, with the nearest that does."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
    return f"there is no {what} called {_shown(given)}; {hint}"


def value_from_json(value: Any, hint: Any) -> Any:
    """Return a JSON value as a field of this type holds it: tables as settings, lists as tuples.

    Raises UsageError: settings in it cannot be used.
    """
    if isinstance(hint, type) and issubclass(hint, Settings) and isinstance(value, Mapping):
        return hint.from_json(value)
    if get_origin(hint) is typing.Annotated:
        return value_from_json(value, get_args(hint)[0])
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        item = get_args(hint)[0]
        return tuple(value_from_json(part, item) for part in value)
    return value


def fault_in(name: str, value: Any, hint: Any, limits: tuple[Any, ...] = ()) -> str | None:
    """Return the sentence for one field's value, or None where it can be used."""
    if get_origin(hint) is typing.Annotated:
        inner, *more = get_args(hint)
        return fault_in(name, value, inner, (*limits, *more))
    if get_origin(hint) in (types.UnionType, typing.Union):
        (inner,) = (option for option in get_args(hint) if option is not types.NoneType)
        return None if value is None else fault_in(name, value, inner, limits)
    if get_origin(hint) is typing.Literal:
        choices = get_args(hint)
        return (
            None if value in choices else f"{name} is {_shown(value)}; it must be one of {', '.join(map(str, choices))}"
        )
    if not _is_a(value, hint):
        return f"{name} is {_shown(value)}; it must be {_in_words(hint)}"
    for limit in limits:
        if isinstance(limit, Range):
            parts = value if isinstance(value, tuple) else (value,)
            if any(part not in limit for part in parts):
                return f"{name} is {_shown(value)}; it must be {limit}"
        if isinstance(limit, Rising) and value[0] > value[1]:
            return f"{name} is {_shown(value)}; it must be a lower and an upper bound in that order"
    return None


def _is_a(value: Any, expected: Any) -> bool:
    if expected is Any:
        return True
    if get_origin(expected) is tuple:
        return isinstance(value, tuple) and _items_are(value, get_args(expected))
    if get_origin(expected) is Mapping:
        return isinstance(value, Mapping) and all(_is_a(one, get_args(expected)[1]) for one in value.values())
    if expected is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, get_origin(expected) or expected)


def _items_are(values: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    if expected[-1] is Ellipsis:
        expected = expected[:1] * len(values)
    return len(values) == len(expected) and all(map(_is_a, values, expected))


def _shown(value: Any) -> str:
    """Return a value as it would be typed, a long one shortened in the middle."""
    return _SHORT.repr(value)


def _in_words(expected: Any) -> str:
    if get_origin(expected) is tuple:
        first, *rest = get_args(expected)
        count = "" if Ellipsis in rest else f" of {1 + len(rest)} values"
        return f"a list{count}, each {_in_words(first)}"
    if get_origin(expected) is Mapping:
        return "a table by name" if get_args(expected)[1] is Any else f"{_in_words(get_args(expected)[1])} by name"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(expected) or str(getattr(expected, "__name__", expected))
