"""What runs start from: recorded, resumed exactly, and refused in one sentence where the prior is not there."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from dreamfields.api import load, start
from dreamfields.cli.main import main
from dreamfields.optimize.settings import InitSettings
from dreamfields.prior import load as prior_file
from dreamfields.runs.facts import export_facts
from dreamfields.runs.record import RunRecord
from tests.support.toys import TINY, fingerprint, tiny_config

FROM_PRIOR = replace(TINY, init=InitSettings(source="prior"))


def test_a_run_from_the_prior_says_so_and_resumes_exactly(tmp_path: Path) -> None:
    config = tiny_config(FROM_PRIOR, prompt="a red car with a dog in it")
    whole = start(config, tmp_path / "whole")
    assert sum(1 for _ in whole.steps()) == 12
    facts = json.loads((whole.path / "run.json").read_text())["start"]
    assert facts["source"] == "prior"
    assert (facts["subject"], facts["shape"]) == ("a car", "car")
    assert facts["cosine"] > 0.9
    assert facts["prior"] == prior_file.SHA256
    # Stopped before the first checkpoint, between two, and after all.
    for stopped in (1, 7):
        part = start(config, tmp_path / f"stopped-{stopped}")
        list(islice(part.steps(), stopped))
        again = load(part.path)
        assert sum(1 for _ in again.steps()) == 12 - stopped
        assert fingerprint(again.trained_state()) == fingerprint(whole.trained_state())
    blob = start(replace(config, recipe=TINY), tmp_path / "blob")
    list(blob.steps())
    assert fingerprint(blob.trained_state()) != fingerprint(whole.trained_state())
    assert "start" not in json.loads((blob.path / "run.json").read_text())


def test_what_the_prior_hardly_knows_is_started_from_only_if_told_to_and_then_noted(tmp_path: Path) -> None:
    told = start(tiny_config(FROM_PRIOR, prompt="the smell of rain"), tmp_path)
    list(told.steps())
    assert told.record.start["source"] == "prior"
    assert any("does not know '" in note for note in told.notes)


def test_an_older_run_goes_on_without_a_start() -> None:
    config = tiny_config().to_json()
    del config["recipe"]["init"]
    record = RunRecord.from_json({"format": 1, "status": "started", "config": config})
    assert record.config.recipe.init.source == "none"


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_without_the_prior_it_is_one_sentence(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prior.safetensors"
    if damage == "damaged":
        path.write_bytes(prior_file.FILE.read_bytes()[:-1])
    monkeypatch.setattr(prior_file, "FILE", path)
    for command in (["generate", "a cat", "--init", "prior"], ["sketch", "a cat"]):
        assert main([*command, "--out", str(tmp_path / "runs")]) == 3
        said = capsys.readouterr().err
        assert damage in said
        assert "pip install --force-reinstall dreamfields" in said
    assert not (tmp_path / "runs").exists()
    # What does not need it works: `doctor` and a run that starts from a blob are checked without it.
    assert main(["generate", "a cat", "--guidance", "toy", "--steps", "1", "--out", str(tmp_path / "runs")]) == 0


def test_a_run_begins_as_the_words_that_are_given_instead_of_the_prompt_s(tmp_path: Path) -> None:
    told = start(tiny_config(replace(TINY, init=InitSettings(subject=" a \t horse")), prompt="a unicorn"), tmp_path)
    list(told.steps())
    assert (told.record.start["source"], told.record.start["shape"]) == ("prior", "horse")
    assert told.record.start["subject"] == "a horse"


def test_who_made_what_a_run_begins_as_is_named_with_all_that_it_writes(tmp_path: Path) -> None:
    config = tiny_config(FROM_PRIOR, prompt="a giraffe")
    run = start(config, tmp_path / "any")
    list(run.steps())
    credit = run.record.start["credit"]
    assert credit.startswith("'giraffe' by ")
    assert "CC BY" in credit
    assert any(credit in note and "--init.licence cc0" in note for note in run.notes)
    assert run.metadata()["credit"] == f"began as {credit}"
    free = start(
        replace(config, recipe=replace(FROM_PRIOR, init=replace(FROM_PRIOR.init, licence="cc0"))), tmp_path / "cc0"
    )
    list(free.steps())
    assert free.record.start["shape"] != "giraffe"
    assert "credit" not in free.metadata()
    # What was begun again, as a blob, owes nothing to a shape.
    assert "credit" not in export_facts(replace(run.record, attempts=2))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--init.subject", "a horse", "--init", "none"], "leave out one of them"),
        (["--init.subject", "茶壶 !"], "the prior can read no word of --init.subject"),
        (["--init.subject", "x" * 5000], "so shorten it"),
    ],
)
def test_words_that_cannot_be_looked_up_are_refused(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", "a cat", "--guidance", "toy", *flags, "--out", str(tmp_path / "runs")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
