"""Fitting: closed forms of the losses, and that adapters learn, stop, repeat themselves and go on after a stop."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreamfields.train.fit import (
    Progress,
    TrainingData,
    class_loss,
    contradicted,
    contrastive_loss,
    fit,
    mean_reciprocal_rank,
    negatives_loss,
    new_adapters,
    restored,
    schedule,
    sigmoid_loss,
)
from dreamfields.train.settings import Loss, NetworkSettings, TuningLosses, TuningSettings

SETTINGS = TuningSettings(
    epochs=6,
    patience=6,
    batch=32,
    learning_rate=0.01,
    validation=0.2,
    network=NetworkSettings(hidden=16, space=8, dropout=(0.1, 0.1)),
)


def data(pictures: int = 160) -> TrainingData:
    """Pictures whose features are a linear mixture of what is said of them, and noise."""
    draws = torch.Generator().manual_seed(0)
    meaning = torch.randn(pictures, 6, generator=draws)
    to_picture, to_text = torch.randn(6, 12, generator=draws), torch.randn(6, 10, generator=draws)
    views = torch.stack([meaning @ to_picture + 0.3 * torch.randn(pictures, 12, generator=draws) for _ in range(2)])
    sentences = torch.cat([meaning @ to_text, meaning @ to_text + 0.1])
    caption_ids = torch.stack([torch.arange(pictures), pictures + torch.arange(pictures)], dim=1)
    captions = torch.arange(2 * pictures)
    return TrainingData(
        views,
        sentences,
        caption_ids,
        torch.where(captions % 3 == 0, (captions + 7) % len(captions), -1)[:, None],
        torch.arange(pictures) % 5 == 0,
        torch.randn(7, 2, 10, generator=draws),
        torch.randn(7, 9, generator=draws),
        torch.zeros(7),
    )


def run(settings: TuningSettings, kept: Path, stop_after: int = 1000) -> tuple[list[Progress], Progress]:
    """Train until done or stopped; the next call goes on."""
    epochs = []
    progress = start = restored(data(), settings, kept)
    for progress in fit(start, data(), settings, kept):
        epochs.append(progress)
        if progress.epoch == stop_after:
            break
    return epochs, progress


def test_the_contrastive_loss_of_equal_logits_is_the_logarithm_of_their_number() -> None:
    assert contrastive_loss(torch.zeros(8, 8), torch.eye(8).bool()).item() == pytest.approx(math.log(8.0))
    assert contrastive_loss(100.0 * torch.eye(8), torch.eye(8).bool()).item() == pytest.approx(0.0, abs=1e-5)


def test_a_caption_is_told_from_its_own_hard_negatives_alone() -> None:
    some = data()
    adapters, captions = new_adapters(some, SETTINGS).eval(), torch.arange(20)
    images = adapters.image(some.views[0, :20]).detach()
    logits = (adapters.scale * images @ adapters.text(some.sentences).T).detach()
    # Every third caption has one, the sentence seven further on.
    wanted = [torch.logsumexp(logits[i, [i, i + 7]], 0) - logits[i, i] for i in range(0, 20, 3)]
    found = negatives_loss(adapters, images, some, captions)
    assert found.item() == pytest.approx(float(torch.stack(wanted).mean()), abs=1e-4)
    assert negatives_loss(adapters, images[1:3], some, captions[1:3]).item() == 0.0


def test_of_an_images_captions_one_with_hard_negatives_is_drawn() -> None:
    some, draws = data(), torch.Generator().manual_seed(0)
    drawn = torch.stack([contradicted(some, torch.arange(160), draws) for _ in range(20)])
    for image, captions in enumerate(some.caption_ids.tolist()):
        told = {caption for caption in captions if caption % 3 == 0}
        assert set(drawn[:, image].tolist()) == (told or set(captions))


def test_pictures_of_one_sentence_are_all_right_for_it() -> None:
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    ideal = 100.0 * same.float()
    assert contrastive_loss(ideal, same).item() == pytest.approx(2.0 / 3.0 * math.log(2.0), abs=1e-5)
    assert contrastive_loss(100.0 * torch.eye(3), same) > contrastive_loss(ideal, same)
    assert sigmoid_loss(100.0 * (2.0 * same.float() - 1.0), same).item() == pytest.approx(0.0, abs=1e-5)


def test_the_sigmoid_loss_by_hand() -> None:
    logits = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
    terms = [math.log1p(math.exp(-x)) for x in (1.0, 2.0, -0.5, 3.0)]
    assert sigmoid_loss(logits, torch.eye(2).bool()).item() == pytest.approx(sum(terms) / 2.0)


def test_the_class_loss_is_least_where_the_logits_are_the_classifiers() -> None:
    known = torch.randn(5, 9)
    least = class_loss(known / 2.0, known)
    for _ in range(5):
        assert class_loss(known / 2.0 + 0.1 * torch.randn(5, 9), known) > least


def test_the_step_rises_then_falls_to_nothing() -> None:
    steps = [schedule(index / 100) for index in range(101)]
    assert steps[0] == 0.0
    assert max(steps) == steps[10] == 1.0
    assert steps[:11] == sorted(steps[:11])
    assert steps[10:] == sorted(steps[10:], reverse=True)
    assert steps[-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("loss", ["contrastive", "sigmoid"])
def test_adapters_learn_to_find_pictures_they_were_not_trained_on(tmp_path: Path, loss: Loss) -> None:
    settings = replace(SETTINGS, losses=TuningLosses(pairs=loss))
    before = mean_reciprocal_rank(new_adapters(data(), settings), data())
    epochs, progress = run(settings, tmp_path / "kept")
    assert [progress.epoch for progress in epochs] == [1, 2, 3, 4, 5, 6]
    assert progress.best_score > before + 0.2
    assert progress.best_score == max(progress.score for progress in epochs)
    assert epochs[-1].loss < epochs[0].loss


def test_found_is_one_when_every_sentence_ranks_its_own_picture_first() -> None:
    # Sentences as pictures, through the same network: each is nearest to itself.
    told = replace(data(), views=data().sentences[:160][None], caption_ids=torch.arange(160)[:, None])
    adapters = new_adapters(told, SETTINGS).eval()
    adapters.text.load_state_dict(adapters.image.state_dict())
    assert mean_reciprocal_rank(adapters, told) == 1.0


def test_the_same_seed_gives_the_same_adapters_whatever_was_drawn_before(tmp_path: Path) -> None:
    _, first = run(SETTINGS, tmp_path / "a")
    torch.rand(3)
    _, again = run(SETTINGS, tmp_path / "b")
    _, other = run(replace(SETTINGS, seed=1), tmp_path / "c")
    assert same(first.best_state, again.best_state)
    assert not same(first.best_state, other.best_state)


@pytest.mark.parametrize("stop", [1, 4])
def test_a_stopped_training_goes_on_exactly(tmp_path: Path, stop: int) -> None:
    _, whole = run(SETTINGS, tmp_path / "a")
    run(SETTINGS, tmp_path / "b", stop_after=stop)
    later, resumed = run(SETTINGS, tmp_path / "b")
    assert later[0].epoch == stop + 1
    assert same(whole.adapters.state_dict(), resumed.adapters.state_dict())
    assert same(whole.best_state, resumed.best_state)
    assert (whole.best_score, whole.best_epoch) == (resumed.best_score, resumed.best_epoch)


def test_a_damaged_record_of_training_starts_it_again(tmp_path: Path) -> None:
    _, whole = run(SETTINGS, tmp_path / "a")
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:-7])
    epochs, again = run(SETTINGS, tmp_path / "b")
    assert epochs[0].epoch == 1
    assert same(whole.best_state, again.best_state)


def test_training_stops_when_validation_gets_no_better(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=50, patience=2, learning_rate=0.0)
    epochs, _ = run(settings, tmp_path / "kept")
    assert [progress.best_epoch == progress.epoch for progress in epochs] == [True, False, False]


def test_validation_pictures_are_never_trained_on(tmp_path: Path) -> None:
    spoilt = data()
    spoilt.views[:, spoilt.validation] = torch.nan
    settings = replace(SETTINGS, epochs=1)
    (progress,) = fit(restored(spoilt, settings, tmp_path / "kept"), spoilt, settings, tmp_path / "kept")
    assert math.isfinite(progress.loss)
    assert all(torch.isfinite(value).all() for value in progress.adapters.state_dict().values())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())
