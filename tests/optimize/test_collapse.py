"""Collapse: each verdict, none too early, and running means that decay by their memory."""

from dataclasses import replace

import pytest

from dreamfields.optimize.collapse import RunningMeans, Verdict, diagnose, observe
from dreamfields.optimize.settings import CollapseSettings

SETTINGS = CollapseSettings(
    restarts=1, look_from=0.1, stuck_at=0.4, stuck_gain=0.02, empty_below=0.01, full_above=0.9, memory=0.9, warm_up=5
)
WELL = RunningMeans(score=0.3, opacity=0.5, first_score=0.1, steps=20)


def means_of(scores: list[float], opacity: float = 0.5, settings: CollapseSettings = SETTINGS) -> RunningMeans:
    running_means = RunningMeans()
    for score in scores:
        running_means = observe(running_means, score, opacity, settings)
    return running_means


def test_all_is_well_in_the_middle() -> None:
    for steps in range(200):
        assert diagnose(replace(WELL, steps=steps), 100, SETTINGS) is None


@pytest.mark.parametrize(
    ("opacity", "verdict"),
    [
        (0.0, Verdict.EMPTY),
        (0.009, Verdict.EMPTY),
        (0.01, None),
        (0.9, None),
        (0.91, Verdict.FULL),
        (1.0, Verdict.FULL),
    ],
)
def test_empty_and_full_scenes_are_given_up(opacity: float, verdict: Verdict | None) -> None:
    assert diagnose(replace(WELL, opacity=opacity), 100, SETTINGS) is verdict


def test_no_verdict_comes_before_the_fraction_of_steps_to_look_from() -> None:
    empty = replace(WELL, opacity=0.0)
    assert diagnose(replace(empty, steps=9), 100, SETTINGS) is None
    assert diagnose(replace(empty, steps=10), 100, SETTINGS) is Verdict.EMPTY


def test_no_verdict_comes_before_the_warm_up_is_over() -> None:
    empty = replace(WELL, opacity=0.0)
    assert diagnose(replace(empty, steps=5), 20, SETTINGS) is None
    assert diagnose(replace(empty, steps=6), 20, SETTINGS) is Verdict.EMPTY


@pytest.mark.parametrize(("gain", "verdict"), [(-0.1, Verdict.STUCK), (0.019, Verdict.STUCK), (0.021, None)])
def test_a_score_that_has_not_risen_is_given_up_once_at_its_fraction_of_the_steps(
    gain: float, verdict: Verdict | None
) -> None:
    running_means = RunningMeans(score=0.2 + gain, opacity=0.5, first_score=0.2)
    assert diagnose(replace(running_means, steps=40), 100, SETTINGS) is verdict
    assert diagnose(replace(running_means, steps=39), 100, SETTINGS) is None
    assert diagnose(replace(running_means, steps=41), 100, SETTINGS) is None


def test_an_empty_scene_is_called_empty_and_not_stuck() -> None:
    assert diagnose(RunningMeans(steps=40), 100, SETTINGS) is Verdict.EMPTY


def test_the_first_steps_count_as_a_plain_mean() -> None:
    running_means = means_of([0.1, 0.2, 0.6, 0.3])
    assert running_means.score == pytest.approx(0.3)
    assert running_means.opacity == pytest.approx(0.5)
    assert running_means.steps == 4


def test_the_score_starts_from_the_mean_of_the_warm_up() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.5]
    assert means_of(scores[:2]).first_score == pytest.approx(0.15)
    assert means_of([*scores, 5.0, 5.0]).first_score == pytest.approx(0.3)


@pytest.mark.parametrize("memory", [0.5, 0.9])
def test_later_steps_fade_by_the_memory(memory: float) -> None:
    settings = replace(SETTINGS, memory=memory)
    long = means_of([0.0] * 50, opacity=0.0, settings=settings)
    after = observe(long, 1.0, 0.5, settings)
    assert after.score == pytest.approx(1.0 - memory)
    assert after.opacity == pytest.approx(0.5 * (1.0 - memory))
    assert observe(after, 0.0, 0.0, settings).score == pytest.approx(memory * (1.0 - memory))


def test_a_memory_of_none_is_the_last_step() -> None:
    settings = replace(SETTINGS, memory=0.0)
    assert means_of([0.1, 0.9, 0.4], settings=settings).score == pytest.approx(0.4)
