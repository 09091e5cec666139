"""Settings: every field of every class refuses what it cannot use, all at once, and survives JSON."""

import dataclasses
import importlib
import json
import math
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.errors import UsageError
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.optimize.settings import LossSettings
from dreamfields.render.settings import AugmentSettings, BackgroundSettings
from dreamfields.scene.settings import CameraSettings, VoxelSettings
from dreamfields.settings import Range, Settings, unknown_name
from tests.support.architecture import modules


@dataclass(frozen=True)
class Inner(Settings):
    """Settings within settings."""

    fraction: Annotated[float, Range(0.0, 1.0)] = 0.5
    kind: Literal["round", "square"] = "round"


@dataclass(frozen=True)
class Sample(Settings):
    """One field of every kind."""

    title: str
    count: Annotated[int, Range(1, 9)] = 3
    least: Annotated[float, Range(low=2.0)] = 2.5
    most: Annotated[float, Range(high=2.0)] = 1.5
    pair: Annotated[tuple[float, float], Range(0.0, 1.0)] = (0.25, 0.75)
    names: tuple[str, ...] = ("a",)
    limit: Annotated[int | None, Range(1, 5)] = None
    other: Annotated[int, Range(1, 5)] | None = None
    loud: bool = False
    inner: Inner = dataclasses.field(default_factory=Inner)


def every_settings_class() -> list[type[Settings]]:
    """Return all settings classes that a run is made of, and the two above; commands have tests of their own."""
    for module, _ in modules():
        if module.split(".")[-1] in ("settings", "config"):
            importlib.import_module(f"dreamfields.{module}")
    found: list[type[Settings]] = []
    waiting: list[type[Settings]] = [Settings]
    while waiting:
        found += (below := waiting.pop().__subclasses__())
        waiting += below
    kept = {one for one in found if not one.__module__.startswith("dreamfields.cli.")}
    return sorted(kept, key=lambda one: f"{one.__module__}.{one.__name__}")


def make(kind: type[Settings], /, **values: Any) -> Settings:
    """Make settings with the defaults; required fields are texts."""
    required = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    return kind(**dict.fromkeys(required, "a teapot") | values)


CLASSES = every_settings_class()
FIELDS = [(kind, field.name) for kind in CLASSES for field in dataclasses.fields(kind)]
of_every_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
of_every_field = pytest.mark.parametrize(
    ("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS]
)


@dataclass
class Schema:
    """What a field's annotation says."""

    hint: Any
    limits: Range | None
    may_be_none: bool


def schema(kind: type[Settings], name: str) -> Schema:
    hint, limits, may_be_none = typing.get_type_hints(kind, include_extras=True)[name], None, False
    while typing.get_origin(hint) in (Annotated, types.UnionType, typing.Union):
        inner, *rest = typing.get_args(hint)
        limits = next((extra for extra in rest if isinstance(extra, Range)), limits)
        may_be_none = may_be_none or types.NoneType in rest
        hint = inner
    return Schema(hint, limits, may_be_none)


def wrong_types(known: Schema) -> list[Any]:
    """Return values that no field of this type can hold."""
    by_type: dict[Any, list[Any]] = {
        int: ["3", 1.5, True, [1]],
        float: ["3", True, [1.0], math.nan],
        str: [3, ["a"], b"a"],
        bool: [0, "yes"],
    }
    origin, parts = typing.get_origin(known.hint), typing.get_args(known.hint)
    if origin is tuple and Ellipsis in parts:
        wrong: list[Any] = [3, "a", ["a"], (3, 4)]
    elif origin is tuple:
        wrong = [1.0, "ab", [1.0, 1.0], (1.0,), (1.0, 1.0, 1.0), ("a", "b"), (1.0, True), (1.0, None)]
    elif origin is Literal:
        wrong = ["no such choice", 0, ["a"]]
    elif isinstance(known.hint, type) and issubclass(known.hint, Settings):
        wrong = [3, "a", {}]
    else:
        wrong = by_type[known.hint]
    return wrong if known.may_be_none else [*wrong, None]


def on_and_beyond(limits: Range) -> tuple[list[float], list[float]]:
    """Return the ends of an interval, and values just and far outside it."""
    on = [end for end in (limits.low, limits.high) if math.isfinite(end)]
    beyond = [limits.low - 1, -1e30] if math.isfinite(limits.low) else []
    return on, beyond + ([limits.high + 1, 1e30] if math.isfinite(limits.high) else [])


def test_all_settings_are_found() -> None:
    assert {Sample, CameraSettings, VoxelSettings, BackgroundSettings} <= set(CLASSES)


@of_every_field
def test_a_wrong_type_is_refused_by_name(kind: type[Settings], name: str) -> None:
    for value in wrong_types(schema(kind, name)):
        with pytest.raises(UsageError, match=rf"^{name} is .*; it must be ") as caught:
            make(kind, **{name: value})
        assert repr(value) in str(caught.value)


@of_every_field
def test_numbers_are_accepted_on_their_limits_and_refused_beyond(kind: type[Settings], name: str) -> None:
    known = schema(kind, name)
    if known.limits is None:
        return
    as_written = int if known.hint is int else float
    on, beyond = on_and_beyond(known.limits)
    is_pair = typing.get_origin(known.hint) is tuple
    for end in on:
        value = as_written(end)
        assert make(kind, **{name: (value, value) if is_pair else value})
    for outside in beyond:
        value = as_written(outside)
        for given_value in [(on[0], value), (value, on[0])] if is_pair else [value]:
            with pytest.raises(UsageError, match=rf"^{name} is .*; it must be (from|at least|at most) "):
                make(kind, **{name: given_value})


@of_every_class
def test_json_there_and_back_changes_nothing(kind: type[Settings]) -> None:
    settings = make(kind)
    assert kind.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@given(
    st.builds(
        Sample,
        title=st.text(),
        count=st.integers(1, 9),
        least=st.floats(2.0, 1e300),
        pair=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
        names=st.lists(st.text()).map(tuple),
        limit=st.none() | st.integers(1, 5),
        loud=st.booleans(),
        inner=st.builds(Inner, fraction=st.floats(0.0, 1.0), kind=st.sampled_from(["round", "square"])),
    )
)
def test_json_keeps_every_value(settings: Sample) -> None:
    assert Sample.from_json(json.loads(json.dumps(settings.to_json()))) == settings


@of_every_class
def test_settings_are_frozen_documented_and_few(kind: type[Settings]) -> None:
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(make(kind), name, None)
    assert len(dataclasses.fields(kind)) <= 12
    assert (kind.__doc__ or "").strip()


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Sample(title="a", count=0, pair=(0.5, 2.0), loud="yes", most=math.nan)  # type: ignore[arg-type]
    faults = str(caught.value).split("; it must be ")
    assert len(faults) == 5
    assert all(f"{name} is " in str(caught.value) for name in ("count", "pair", "loud", "most"))


def test_every_fault_of_a_file_is_named_at_once_nested_ones_too() -> None:
    with pytest.raises(UsageError) as caught:
        Sample.from_json({"title": "a", "cuont": 3, "limit": 9, "inner": {"fraction": 2.0, "knid": "round"}})
    message = str(caught.value)
    for part in ("'cuont'; did you mean 'count'?", "limit is 9", "fraction is 2.0", "'knid'; did you mean 'kind'?"):
        assert part in message


def test_what_has_no_default_must_be_given() -> None:
    with pytest.raises(UsageError, match=r"^title is missing$"):
        Sample.from_json({})
    with pytest.raises(UsageError, match=r"^title is missing; there is no setting of Sample called 'titel'"):
        Sample.from_json({"titel": "a"})


def test_sentences_say_what_was_given_and_what_is_allowed() -> None:
    def sentence(**values: Any) -> str:
        with pytest.raises(UsageError) as caught:
            make(Sample, **values)
        return str(caught.value)

    assert sentence(count=10) == "count is 10; it must be from 1 to 9"
    assert sentence(count=1.5) == "count is 1.5; it must be a whole number"
    assert sentence(least=1.0) == "least is 1.0; it must be at least 2"
    assert sentence(most=3.0) == "most is 3.0; it must be at most 2"
    assert sentence(limit="a") == "limit is 'a'; it must be a whole number"
    assert sentence(pair=(1.0,)) == "pair is (1.0,); it must be a list of 2 values, each a number"
    assert sentence(names=("a", 1)) == "names is ('a', 1); it must be a list, each text"
    assert sentence(loud=1) == "loud is 1; it must be true or false"
    assert sentence(title=b"a") == "title is b'a'; it must be text"
    assert sentence(inner=3) == "inner is 3; it must be an Inner"


def test_a_choice_names_the_choices() -> None:
    with pytest.raises(UsageError, match=r"^kind is 'flat'; it must be one of round, square$"):
        Inner(kind="flat")  # type: ignore[arg-type]


def test_an_unknown_name_offers_the_nearest_or_lists_all() -> None:
    nearest = unknown_name("draught", ["quick", "draft"], "preset")
    assert nearest == "there is no preset called 'draught'; did you mean 'draft'?"
    assert unknown_name("xyz", ["quick", "draft"], "preset").endswith("known: draft, quick")


@pytest.mark.parametrize("name", ["azimuth_deg", "elevation_deg", "fov_deg"])
def test_camera_intervals_run_upwards(name: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is \(40.0, 30.0\); .* lower and an upper bound"):
        CameraSettings(**{name: (40.0, 30.0)})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"^{name} is \(40.0, 30.0\); .*; radius is 0.0; "):
        CameraSettings(**{name: (40.0, 30.0), "radius": 0.0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (BackgroundSettings, "blur"),
        (AugmentSettings, "scale"),
        (AugmentSettings, "saturation"),
        (GuidanceSettings, "sharpen"),
        (LossSettings, "fog_ramp"),
    ],
)
def test_every_pair_of_bounds_runs_upwards(settings: type[Settings], name: str) -> None:
    with pytest.raises(UsageError, match=rf"^{name} is \(0.9, 0.2\); .* lower and an upper bound in that order$"):
        settings(**{name: (0.9, 0.2)})
    assert settings(**{name: (0.3, 0.3)})


def test_some_background_must_have_a_weight() -> None:
    with pytest.raises(UsageError, match="one must be above 0 at least"):
        BackgroundSettings(noise=0.0, checkerboard=0.0, fourier=0.0, plain=0.0)
    assert BackgroundSettings(noise=0.0, checkerboard=0.0, fourier=0.0, plain=0.1)
