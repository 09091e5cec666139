"""Judging held-out views: the classifier's classes, cameras and counts, and cosines of sentences by hand."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from dreamfields.errors import UsageError
from dreamfields.evaluate import classifier as judge
from dreamfields.evaluate.classifier import (
    Judge,
    Judgement,
    ViewJudgement,
    class_indices,
    held_out_renderings,
    judge_view,
    nearest_class,
    similarities,
)
from dreamfields.evaluate.report import judgement_json
from dreamfields.guidance.lit.towers import class_names
from dreamfields.guidance.lit.weights import GUIDING_TOWERS, JUDGE_TOWER
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.scene.cameras import Camera
from tests.support.fields import Ball, BallsField

CPU = torch.device("cpu")
SIZE = 20
"""Pixels a side of the views of the judge that needs no weights."""
TEAPOT, BANANA = class_names().index("teapot"), class_names().index("banana")


class ColourTower(nn.Module):
    """Takes what is red in the middle for a teapot and what is green for a banana."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def features(self, images: Tensor) -> Tensor:
        middle = images.shape[-1] // 2
        return images[:, :, middle, middle]

    def logits(self, features: Tensor) -> Tensor:
        logits = torch.zeros(len(features), 1000)
        logits[:, TEAPOT] = 40.0 * (features[:, 0] - features[:, 1])
        logits[:, BANANA] = 40.0 * (features[:, 1] - features[:, 0])
        return logits


@pytest.fixture
def colour_judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    monkeypatch.setattr(judge, "Tower", ColourTower)
    monkeypatch.setattr(judge, "JUDGE_TOWER", replace(JUDGE_TOWER, native_size=SIZE))
    return Judge(CPU)


def test_a_red_ball_is_what_it_is_taken_for_from_all_sides(colour_judge: Judge) -> None:
    field = BallsField([Ball(0.5, colour=(0.9, 0.1, 0.1))])
    found, missed = (colour_judge.judge(field, [name], samples=16) for name in ("teapot", "banana"))
    assert (found.top1, found.top5, len(found.views)) == (8, 8, 8)
    assert found.probability > 0.99
    assert {view.answer for view in (*found.views, *missed.views)} == {"teapot"}
    assert missed.top1 == 0
    assert missed.probability < 0.01


def test_each_view_is_judged_on_its_own_side(colour_judge: Judge) -> None:
    # Green in front, red behind: the nearest surface in the middle of the image decides.
    field = BallsField([Ball(0.4, (0.0, 0.0, 0.3), (0.1, 0.9, 0.1)), Ball(0.4, (0.0, 0.0, -0.3), (0.9, 0.1, 0.1))])
    views = colour_judge.judge(field, ["banana"], samples=32).views
    assert [view.azimuth_deg for view in views] == [45.0 * index for index in range(8)]
    assert [views[0].answer, views[4].answer] == ["banana", "teapot"]
    assert [views[0].top1, views[4].top1] == [True, False]


def test_held_out_views_are_the_paper_s(colour_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    cameras: list[Camera] = []
    sizes: set[int] = set()

    def recorded(field: BallsField, camera: Camera, size: int, samples: int, **_: Tensor | None) -> Any:
        cameras.append(camera)
        sizes.add(size)
        return render_still(field, camera, 8, samples)

    monkeypatch.setattr(judge, "render_still", recorded)
    colour_judge.judge(BallsField([Ball(0.5)]), ["teapot"], samples=8)
    assert [camera.azimuth_deg for camera in cameras] == [45.0 * index for index in range(8)]
    seen = {(camera.elevation_deg, camera.fov_deg, camera.radius, camera.target) for camera in cameras}
    assert seen == {(45.0, 39.6, 4.0, (0.0, 0.0, 0.0))}
    assert sizes == {SIZE}


def test_views_of_fewer_pixels_are_enlarged_for_the_judge(colour_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[torch.Size] = set()

    def recorded(images: Tensor) -> Tensor:
        sizes.add(images.shape)
        return torch.full((1000,), 1e-3)

    monkeypatch.setattr(colour_judge, "probabilities", recorded)
    colour_judge.judge(BallsField([Ball(0.2)]), ["teapot"], samples=8, size=SIZE // 2)
    assert sizes == {torch.Size([3, 3, SIZE, SIZE])}


def test_a_view_is_shown_over_white_grey_and_black(colour_judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Tensor] = []

    def recorded(images: Tensor) -> Tensor:
        shown.append(images)
        return torch.full((1000,), 1e-3)

    monkeypatch.setattr(colour_judge, "probabilities", recorded)
    colour_judge.judge(BallsField([Ball(0.2)]), ["teapot"], samples=8)
    assert len(shown) == 8
    for images in shown:
        assert images[:, :, 0, 0].tolist() == [[1.0] * 3, [0.5] * 3, [0.0] * 3]


def test_probabilities_are_the_mean_of_the_images_not_of_their_logits(colour_judge: Judge) -> None:
    images = torch.zeros(2, 3, 4, 4)
    images[0, 0], images[1, 1] = 1.0, 0.1
    expected = functional.softmax(ColourTower().logits(images[:, :, 2, 2]), dim=-1).mean(dim=0)
    assert torch.allclose(colour_judge.probabilities(images), expected)
    assert colour_judge.probabilities(images).sum().item() == pytest.approx(1.0)


def probabilities_of(fractions: dict[int, float]) -> Tensor:
    probabilities = torch.zeros(1000)
    for index, fraction in fractions.items():
        probabilities[index] = fraction
    return probabilities


@pytest.mark.parametrize(
    ("right", "top1", "top5", "probability"),
    [
        ([7], True, True, 0.4),
        ([3], False, True, 0.05),
        ([2], False, False, 0.01),
        ([999], False, False, 0.0),
        ([2, 7], True, True, 0.41),
        ([2, 3], False, True, 0.06),
    ],
)
def test_a_view_is_counted_by_hand(right: list[int], top1: bool, top5: bool, probability: float) -> None:
    fractions = {7: 0.4, 6: 0.2, 5: 0.15, 4: 0.1, 3: 0.05, 2: 0.01}
    view = judge_view(probabilities_of(fractions), right, 90.0)
    assert view.azimuth_deg == 90.0
    assert view.answer == class_names()[7]
    assert (view.top1, view.top5) == (top1, top5)
    assert view.probability == pytest.approx(probability)


def test_classes_are_found_by_name_and_a_name_that_stands_twice_gives_both_rows() -> None:
    names = class_names()
    assert class_indices(["teapot"]) == [849] == [TEAPOT]
    assert class_indices(["banana", "teapot"]) == sorted([BANANA, TEAPOT])
    twice = next(name for name in names if names.count(name) > 1)
    assert [names[index] for index in class_indices([twice])] == [twice] * 2


def test_an_unknown_class_is_refused_with_the_nearest_for_each() -> None:
    with pytest.raises(UsageError) as caught:
        class_indices(["teapott", "banana", "bananna"])
    for part in ("'teapott'; did you mean 'teapot'?", "'bananna'; did you mean 'banana'?", "ImageNet class"):
        assert part in str(caught.value)


def test_the_nearest_class_is_that_of_the_nearest_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Letters:
        """Embeds a sentence by how often it has each letter."""

        def encode(self, sentences: list[str]) -> Tensor:
            counts = [[float(one.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"] for one in sentences]
            return functional.normalize(torch.tensor(counts), dim=-1)

    monkeypatch.setattr(judge, "SentenceEncoder", Letters)
    assert nearest_class("a teapot") == "teapot"
    assert nearest_class("a banana") == "banana"


JUDGEMENT = Judgement(
    "lite1",
    ("teapot",),
    (
        ViewJudgement(0.0, 0.75, "teapot", top1=True, top5=True),
        ViewJudgement(45.0, 0.25, "coffeepot", top1=False, top5=True),
        ViewJudgement(90.0, 0.0, "banana", top1=False, top5=False),
    ),
)


def test_totals_by_hand() -> None:
    assert (JUDGEMENT.top1, JUDGEMENT.top5) == (1, 2)
    assert JUDGEMENT.probability == pytest.approx(1.0 / 3.0)


def test_a_judgement_as_json() -> None:
    report = json.loads(json.dumps(judgement_json(JUDGEMENT)))
    assert list(report)[:4] == ["top1", "top5", "of", "probability"]
    assert {name: report[name] for name in ("top1", "top5", "of", "probability", "judge", "classes")} == {
        "top1": 1,
        "top5": 2,
        "of": 3,
        "probability": 0.3333,
        "judge": "lite1",
        "classes": ["teapot"],
    }
    assert report["views"][1] == {
        "azimuth_deg": 45.0,
        "probability": 0.25,
        "answer": "coffeepot",
        "top1": False,
        "top5": True,
    }


def test_the_real_judge_is_held_out_and_knows_a_photograph() -> None:
    real = Judge(CPU)
    assert real.tower.source is JUDGE_TOWER
    assert real.tower.source.name not in {source.name for source in GUIDING_TOWERS}
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    with Image.open(Path(spec.origin).parent / "data" / "coffee.png") as file:
        side = min(file.size)
        size = JUDGE_TOWER.native_size
        square = file.convert("RGB").crop(((file.width - side) // 2, 0, (file.width + side) // 2, side))
        pixels = np.asarray(square.resize((size, size)), dtype=np.float32) / 255.0
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    best = {class_names()[index] for index in real.probabilities(image).topk(5).indices.tolist()}
    assert best & {"espresso", "coffee mug", "cup"}


def test_a_red_ball_is_nearer_to_red_than_to_blue_from_all_sides() -> None:
    views = held_out_renderings(BallsField([Ball(0.8, colour=(0.9, 0.05, 0.05))]), size=24, samples=32)
    found = similarities(ToyGuidance(), views, ["a red ball", "a blue ball", "a red ball"])
    assert found.shape == (8, 3)
    assert (found[:, 0] > found[:, 1]).all()
    assert torch.equal(found[:, 0], found[:, 2])


def test_a_cosine_is_the_mean_over_white_grey_and_black() -> None:
    judge = ToyGuidance()
    nothing = torch.zeros(1, 1, 8, 8)
    (found,) = similarities(judge, [Rendering(torch.zeros(1, 3, 8, 8), nothing, nothing)], ["a white ball"])

    def seen(level: float) -> Tensor:
        return judge.encode_image(torch.full((1, 3, 8, 8), level)) @ judge.encode_text(["a white ball"]).T

    assert float(found) == pytest.approx(sum(float(seen(level)) for level in (1.0, 0.5, 0.0)) / 3.0, abs=1e-6)
