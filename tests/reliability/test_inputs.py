"""Thousands of wrong configurations and strange prompts: refused with every fault at once, or kept inside the root."""

import json
import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamfields.cli.main import main
from dreamfields.cli.terminal import console_on, guarded, one_line
from dreamfields.config import Config
from dreamfields.errors import StorageError, UsageError
from dreamfields.guidance.prompts import LONGEST, clean_prompt
from dreamfields.runs.directory import RunDirectory, run_path
from dreamfields.runs.record import read_record
from dreamfields.settings import Settings
from tests.support.toys import PROMPT, tiny_config
from tests.test_settings import FIELDS, on_and_beyond, schema


def leaves(kind: type[Settings], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], type[Settings], str]]:
    """Return the place, class and name of every setting that holds no other settings."""
    found = []
    for owner, name in FIELDS:
        if owner is kind:
            hint = schema(kind, name).hint
            if isinstance(hint, type) and issubclass(hint, Settings):
                found += leaves(hint, (*path, name))
            else:
                found.append(((*path, name), kind, name))
    return found


LEAVES = leaves(Config)


def wrong_value(kind: type[Settings], name: str, draws: random.Random) -> Any:
    """Return a JSON value that a setting cannot have, of a wrong type or out of its range."""
    known = schema(kind, name)
    odd: list[Any] = [{"a": 1}, [[1]], [None, 1], "\x1b[31m" * 50, [1, 2, 3]]
    if known.limits is not None:
        _, beyond = on_and_beyond(known.limits)
        pair = isinstance(getattr(kind("a teapot") if kind is Config else kind(), name), tuple)
        odd += [[value, value] if pair else value for value in beyond]
        odd.append([math.nan, 1.0] if pair else math.nan)
    if name in ("prompt", "title"):
        odd = [3, None, "", " \n", "x" * (LONGEST + 1), "a\0b", ["a"]]
    if name in ("negative_prompt", "geometry_prompt", "style", "subject"):
        odd = [3, None, " \n", "x" * (LONGEST + 1), "a\0b", ["a"]]
    if name in ("paraphrases", "azimuth_prompts"):
        odd += [[""], ["fine", "a\0b"], ["x" * (LONGEST + 1)], ["a {}"] * 101]
    if name == "name":
        odd = [3, None, ["lit"]]
    if name == "template":
        odd = [3, None, "no place for it"]
    return draws.choice(odd)


def put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        values = values[part]
    values[path[-1]] = value


def refused(directory: RunDirectory) -> str:
    """Return the one sentence with which a run's folder is refused, within a second."""
    began = time.process_time()
    with pytest.raises(StorageError) as caught:
        read_record(directory)
    assert time.process_time() - began < 1.0
    assert "\n" not in one_line(str(caught.value))
    assert len(str(caught.value)) < 5000
    return str(caught.value)


def refused_often(tmp_path: Path, count: int) -> None:
    draws, directory = random.Random(3), RunDirectory(tmp_path)
    good = json.dumps(tiny_config().to_json())
    for _ in range(count):
        values = json.loads(good)
        chosen = draws.sample(LEAVES, draws.randrange(1, 6))
        for path, kind, name in chosen:
            put(values, path, wrong_value(kind, name, draws))
        unknown = draws.random() < 0.3
        if unknown:
            values["recipe"]["voxels"]["levles"] = 3
        directory.path.joinpath("run.json").write_text(json.dumps({"format": 1, "status": "started", "config": values}))
        said = refused(directory)
        for _, _, name in chosen:
            assert name in said
        assert ("did you mean 'levels'" in said) == unknown


def test_a_hundred_wrong_configurations_are_refused_with_all_faults(tmp_path: Path) -> None:
    refused_often(tmp_path, 100)


@pytest.mark.reliability
def test_two_thousand_wrong_configurations_are_refused_with_all_faults(tmp_path: Path) -> None:
    refused_often(tmp_path, 2000)


GARBAGE: tuple[bytes, ...] = (
    *(b"", b"{", b"null", b"[]", b"\xff\xfe\x00", b"[" * 300_000, b'{"a":' * 100_000, b"9" * 100_000),
    *(b'{"format": 1e999}', b'{"format": 1, "status": "started"}', b'{"format": 1, "status": 3, "config": {}}'),
    *(b'{"format": 1, "status": "started", "config": {"prompt": "\\ud800"}}', b"\xef\xbb\xbf{}", b"!!python/object:os"),
    b'{"format": 1, "status": "started", "config": {"prompt": "a"}, "notes": 3}',
)


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_in_the_place_of_a_configuration_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert str(tmp_path) in refused(RunDirectory(tmp_path))


ALPHABETS: tuple[Callable[[random.Random], str], ...] = (
    lambda draws: chr(draws.randrange(32, 127)),
    lambda draws: chr(draws.randrange(0, 160)),  # With all control characters.
    lambda draws: chr(draws.randrange(0x110000)),  # With surrogates, which are no text.
    lambda draws: chr(draws.randrange(0x1F300, 0x1FAFF)) + draws.choice(["\u200d", "\ufe0f", ""]),
    lambda draws: chr(draws.choice([0x202E, 0x2066, 0x200F, 0x5D0 + draws.randrange(27), 0x627 + draws.randrange(28)])),
    lambda draws: "e" + "\u0301\u0323" * draws.randrange(4),
    lambda draws: draws.choice(["../", "..\\", "/", "\\", "C:", "%2e", "~", "$(id)", ";", "`", "-", "\x1b[2J", "\r\n"]),
    lambda draws: draws.choice(["CON", "NUL", ".", "run.json", "a" * 60, "A" * 300, " "]),
)
KNOWN = (
    "../../x",
    "/etc/passwd",
    "-rf",
    "--help",
    "CON",
    "a\0b",
    "\ud800",
    "\ufeffa cat",
    "x" * 10_000,
    "\x1b]0;x\x07",
)


def prompts(count: int) -> list[str]:
    draws = random.Random(9)
    made = [
        "".join(draws.choice(ALPHABETS)(draws) for _ in range(draws.randrange(1, draws.choice([5, 40, 900]))))
        for _ in range(count - len(KNOWN))
    ]
    return [*KNOWN, *made]


def configured(prompt: str) -> tuple[Config | None, str]:
    """Return the configuration of a prompt, or the sentence with which it is refused, within a second."""
    began = time.process_time()
    try:
        return Config(prompt), ""
    except UsageError as error:
        return None, str(error)
    finally:
        assert time.process_time() - began < 1.0


def kept_or_refused(tmp_path: Path, count: int) -> None:
    root, kept = tmp_path / "runs", 0
    for text in prompts(count):
        config, fault = configured(text)
        assert "\n" not in fault
        assert len(fault) < 300
        if config is None:
            continue
        kept += 1
        path = run_path(root, config.prompt, 0)
        assert path.resolve().parent == root.resolve()
        assert len(path.name) < 80
        assert path.name.isascii()
        assert clean_prompt(config.prompt) == config.prompt
        directory = RunDirectory(tmp_path / "record")
        directory.write_record({"format": 1, "status": "started", "config": config.to_json()})
        assert read_record(directory).config == config
        shown = one_line(config.prompt)
        assert not any(character in shown for character in "\x1b\r\n\0\u202e\u2066")
    assert count / 4 < kept < count


def test_a_hundred_prompts_stay_inside_the_root(tmp_path: Path) -> None:
    kept_or_refused(tmp_path, 100)


@pytest.mark.reliability
def test_a_thousand_prompts_stay_inside_the_root(tmp_path: Path) -> None:
    kept_or_refused(tmp_path, 1000)


@pytest.mark.parametrize("prompt", ["\x1b[31mred\x1b[0m\nball", "\u202edab", "\ud800", "/etc/passwd"])
def test_nothing_raw_reaches_the_terminal(prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a file\x1b[31m\nof\u202emine"
    out.write_text("")
    assert main(["generate", prompt, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not any(character in said for character in "\x1b\u202e")


def test_a_sentence_that_quotes_something_raw_says_it_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    with guarded(console_on(sys.stderr)) as outcome:
        raise StorageError("cannot read a\x1b[31m\nfile of\u202emine")
    assert outcome.code == 4
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not any(character in said for character in "\x1b\u202e")


def test_an_unforeseen_mistake_is_one_line_and_shows_more_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr("dreamfields.cli.generate.Generate.check", broken)
    assert main(["generate", PROMPT]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "KeyError: 'a mistake'" in sentence
    assert "DREAMFIELDS_DEBUG=1" in sentence
    monkeypatch.setenv("DREAMFIELDS_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["generate", PROMPT])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 6, "not enough memory; lower --render.size"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 6, "not enough memory"),
        (OSError(28, "No space left on device"), 4, "No space left on device; check the disk"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise error

    monkeypatch.setattr("dreamfields.cli.generate.Generate.check", broken)
    assert main(["generate", PROMPT]) == code
    (sentence,) = capsys.readouterr().err.splitlines()
    assert said in sentence
