"""Help: made from the dataclasses of the commands, in two lengths, and never an error where nobody reads it."""

import re
import subprocess
import sys
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from dreamfields.cli.command import Command
from dreamfields.cli.main import COMMANDS, main
from dreamfields.cli.options import Option, help_text, list_options
from dreamfields.cli.parsing import value_of
from dreamfields.settings import Range
from tests.cli.test_cli import environment, no_heavy_packages, run_light

__all__ = ["no_heavy_packages"]  # A fixture that is shared.


@dataclass(frozen=True)
class Part:
    """A part."""

    width: Annotated[int, Range(1, 9)] = 3
    """How wide."""
    pair: tuple[float, float] = (0.5, 1.0)
    """Two numbers."""


@dataclass(frozen=True)
class Example:
    """An example of a command."""

    place: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PLACE")]
    """Where."""
    kind: Literal["a", "b"] = "a"
    """Which,
    of two."""
    many: tuple[str, ...] = ()
    """Some."""
    is_on: bool = True
    """Whether."""
    level: Annotated[float | None, Range(0.0, 1.0)] = None
    """How much."""
    flat: Annotated[Part, tyro.conf.arg(name="")] = Part()
    """Flags without a dot"""
    part: Part = Part(4)
    """Flags with a dot."""


def flags(text: str) -> list[str]:
    """Return the flags that a help text explains."""
    return re.findall(r"^  (--[a-z.-]+)", text, re.MULTILINE)


def test_options_are_the_fields_with_their_strings_types_and_defaults() -> None:
    found = {option.name: option for option in list_options(Example)}
    assert found["PLACE"] == Option("PLACE", Path, MISSING, "Where.", "")
    assert found["--kind"] == Option("--kind", Literal["a", "b"], "a", "Which, of two.", "")
    assert found["--level"] == Option("--level", float, None, "How much.", "")
    assert found["--width"] == Option("--width", int, 3, "How wide.", "Flags without a dot")
    assert found["--part.width"] == Option("--part.width", int, 4, "How wide.", "Flags with a dot.")
    chosen = {option.name: option.default for option in list_options(Example, Example(Path(), part=Part(7)))}
    assert (chosen["--part.width"], chosen["--width"]) == (7, 3)


def test_the_short_help_leaves_out_flags_with_a_dot() -> None:
    short = help_text(Example, "prog", None, 60, everything=False)
    assert short.splitlines() == [
        "usage: prog PLACE [OPTIONS]",
        "",
        "An example of a command.",
        "",
        "arguments:",
        "  PLACE                       Where.",
        "  --kind a|b                  Which, of two. (default: a)",
        "  --many TEXT ...             Some.",
        "  --is-on | --no-is-on        Whether. (default: on)",
        "  --level NUMBER              How much.",
        "",
        "Flags without a dot:",
        "  --width INT                 How wide. (default: 3)",
        "  --pair NUMBER NUMBER        Two numbers. (default: 0.5",
        "                              1.0)",
        "",
        "--help-all shows all 8 flags",
    ]
    everything = help_text(Example, "prog", None, 60, everything=True)
    assert everything.startswith(short.rsplit("\n\n", 1)[0])
    assert flags(everything)[-2:] == ["--part.width", "--part.pair"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_sentence_a_check_something_to_run_and_help(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = COMMANDS[name]
    assert issubclass(kind, Command)
    assert kind.__dict__["__doc__"].endswith(".")
    assert callable(kind.check)
    assert "run" in kind.__dict__
    assert not [option for option in list_options(kind) if not option.text]
    shown = {}
    for flag in ("-h", "--help", "--help-all"):
        assert main([*name.split(), flag]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        assert captured.out.startswith(f"usage: dreamfields {name} ")
        shown[flag] = flags(captured.out)
    assert shown["-h"] == shown["--help"]
    assert set(shown["--help"]) <= set(shown["--help-all"])
    assert shown["--help-all"] == [option.name for option in list_options(kind) if option.is_flag]


def test_the_short_help_of_generate_has_what_people_use(no_heavy_packages: Path) -> None:
    done = run_light(no_heavy_packages, "generate", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    found = flags(done.stdout)
    assert len(found) <= 18
    for name in ("preset", "config", "seed", "steps", "guidance", "init", "field", "out", "device", "threads", "style"):
        assert f"--{name}" in found
    assert (
        done.stdout.splitlines()[-1]
        == f"--help-all shows all {len(list(list_options(COMMANDS['generate']))) - 1} flags"
    )


def test_help_shows_the_defaults_of_the_preset_and_of_the_file(no_heavy_packages: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("recipe: {render: {size: 77}}")
    words = ["generate", "--preset", "standard", "--config", str(tmp_path / "mine.yaml"), "--help-all"]
    text = " ".join(run_light(no_heavy_packages, *words).stdout.split())
    assert "(default: standard)" in text
    assert re.search(r"--optimize.steps INT [^(]*\(default: 3000\)", text)
    assert re.search(r"--render.size INT [^(]*\(default: 77\)", text)


def test_help_is_shown_beside_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--preset", "qick", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], None),
        (["--preset"], None),
        (["--preset", "a"], "a"),
        (["--preset=a"], "a"),
        (["--preset", "a", "--seed", "1", "--preset=b"], "b"),
        (["--preset=b", "--preset", "a"], "a"),
        (["--presets", "a"], None),
    ],
)
def test_the_value_of_a_flag_is_the_last_that_is_given(words: list[str], found: str | None) -> None:
    assert value_of("--preset", words) == found


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["generate", "--help"],
        ["generate", "--help-all"],
        ["export", "--help"],
        ["runs", "."],
        ["runs", ".", "--json"],
        ["doctor"],
        ["models", "list"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("stream", ["closed-pipe", "no-stdout"])
def test_nothing_is_said_where_nobody_reads(words: list[str], stream: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dreamfields", *words]
    shell = ["sh", "-c", '"$@" >&-', "sh"] if stream == "no-stdout" else []
    process = subprocess.Popen(
        [*shell, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        said = process.stderr.read()
    assert (process.wait(timeout=120), said) == (0, "")


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"]])
def test_help_is_the_same_without_docstrings_and_assertions(arguments: list[str]) -> None:
    texts = [
        subprocess.run(
            [sys.executable, *flags, "-m", "dreamfields", *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for flags in ([], ["-OO"])
    ]
    assert texts[0] == texts[1]
    assert "export" in texts[0]
