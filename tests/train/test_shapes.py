"""3D models as pictures with captions: every sentence is true, every picture comes from its seed alone."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from dreamfields.errors import UsageError
from dreamfields.render.shading import AMBIENT, DIFFUSE
from dreamfields.scene.cameras import Camera
from dreamfields.train.colours import NAMED, from_oklab, main_part, named, oklab, painted
from dreamfields.train.looks import WORDINGS, Look, Shape, looks, side_seen, unpainted
from dreamfields.train.measure import about_models, heldout
from dreamfields.train.questions import answered, chance, questions
from dreamfields.train.renders import Model, drawn, rendered
from dreamfields.train.sets import read_set
from dreamfields.train.shapes import ShapeSet, held_out, read_shapes
from tests.support.models import write_models
from tests.support.sets import write_set

LIGHT = np.array([0.0, 0.0, 1.0])
CHAIR = Shape("c.npz", "chair", ("a red chair", "a chair"), ("red",), "furniture", 0.0)


def ball(colour: tuple[float, float, float] = (0.2, 0.4, 0.6)) -> Model:
    shape = trimesh.creation.icosphere(4, 0.8)
    return Model(shape.vertices, shape.faces, np.tile(np.array(colour), (len(shape.vertices), 1)))


def test_oklab_is_undone_by_its_inverse_and_grey_has_no_hue() -> None:
    colours = np.random.default_rng(0).random((200, 3))
    assert np.allclose(from_oklab(oklab(colours)), colours, atol=2e-3)
    assert np.allclose(oklab(np.full((1, 3), 0.5))[:, 1:], 0.0, atol=1e-3)
    assert np.allclose(oklab(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))[:, 0], [0.0, 1.0], atol=1e-3)


@pytest.mark.parametrize("word", NAMED)
def test_a_painted_part_has_the_colour_that_its_word_names_and_the_rest_stays(word: str) -> None:
    colours = np.concatenate([np.random.default_rng(0).uniform(0.4, 0.5, (50, 3)), np.zeros((20, 3))])
    part = main_part(colours, np.ones(70))
    assert part.tolist() == [True] * 50 + [False] * 20
    found = painted(colours, part, word, np.zeros(3))
    assert np.array_equal(found[~part], colours[~part])
    distances = {other: np.linalg.norm(oklab(found[part]).mean(axis=0) - named(other)) for other in NAMED}
    assert min(distances, key=lambda other: distances[other]) == word


@pytest.mark.parametrize(
    ("azimuth", "side"), [(0, "front"), (-30, "front"), (350, "front"), (90, "side"), (270, "side"), (170, "back")]
)
def test_the_side_that_is_seen_follows_from_the_azimuth(azimuth: float, side: str) -> None:
    assert side_seen(azimuth) == side
    assert side_seen(azimuth + 720.0) == side


def test_between_two_sides_none_is_named() -> None:
    assert side_seen(45.0) == side_seen(-135.0) == ""


def test_the_pictures_of_a_model_are_all_around_it_and_their_captions_are_true() -> None:
    found = looks(CHAIR)
    assert found == looks(CHAIR)
    azimuths = np.sort([look.azimuth_deg for look in found])
    assert np.allclose(np.diff(azimuths), 360.0 / len(found))
    assert sum(look.textureless for look in found) == 1
    assert sum(bool(look.paint) for look in found) == 2
    for look in found:
        assert look.side == side_seen(look.azimuth_deg)
        for caption in look.captions:
            assert "chair" in caption
            assert ("a red" in caption) <= (not look.textureless and look.paint in ("", "red"))
            said = [side for side, wordings in WORDINGS.items() for one in wordings if one[:-2].strip() in caption]
            assert not said or look.side in said
        if look.paint:
            assert f"a {look.paint} chair" in look.captions or f"an {look.paint} chair" in look.captions


def test_what_has_no_known_front_has_no_sides() -> None:
    assert not any(look.side for look in looks(replace(CHAIR, front_deg=None)))


@pytest.mark.parametrize("name", ["golden bow", "red apple", "silver ring"])
def test_names_that_say_a_colour_are_not_painted(name: str) -> None:
    shape = replace(CHAIR, name=name, captions=(f"a {name}",))
    assert unpainted(shape)
    assert not any(look.paint for look in looks(shape))


@pytest.mark.parametrize(
    ("captions", "words", "expected"),
    [
        (("a red chair",), "orange chair", "an orange chair"),
        (("some spikes",), "spikes", "some spikes"),
        (("metal armor",), "red metal armor", "red metal armor"),
        (("a unicorn",), "unicorn", "a unicorn"),
    ],
)
def test_captions_take_the_article_of_the_models_own(captions: tuple[str, ...], words: str, expected: str) -> None:
    assert replace(CHAIR, captions=captions).of(words) == expected


def test_a_ball_covers_its_disc_and_is_shaded_as_lambert_has_it() -> None:
    camera = Camera(0.0, 0.0, 4.0, 34.0)
    view = drawn(ball(), camera, 64, LIGHT, 0.0, False)
    radius = 0.8 / math.sqrt(4.0**2 - 0.8**2) / math.tan(math.radians(17.0))
    assert float(view.opacity.mean()) == pytest.approx(math.pi * radius**2 / 4.0, rel=0.01)
    assert torch.allclose(view.colour[0, :, 32, 32], torch.tensor([0.2, 0.4, 0.6]), atol=1e-3)
    lit = drawn(ball(), camera, 64, LIGHT, 1.0, True).colour[0]
    assert torch.allclose(lit[0], lit[1])
    assert float(lit[0, 32, 32]) == pytest.approx(AMBIENT + DIFFUSE, abs=0.02)
    side = drawn(ball(), camera, 64, np.array([1.0, 0.0, 0.0]), 1.0, True).colour[0, 0, 32]
    assert float(side[50]) > 0.5 > float(side[36]) > float(side[14])
    assert float(side[14]) == pytest.approx(AMBIENT, abs=1e-3)


def test_the_winding_of_faces_changes_nothing() -> None:
    model, camera = ball(), Camera(30.0, 20.0)
    turned = replace(model, faces=model.faces[:, ::-1])
    first, second = (drawn(one, camera, 32, LIGHT, 0.7, False).colour for one in (model, turned))
    assert torch.allclose(first, second, atol=1e-5)


def test_a_rendering_depends_on_its_name_and_view_alone() -> None:
    look = Look(30.0, ("a ball",), paint="red")
    first, again, other = (rendered(ball(), look, "ball/0", view) for view in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (3, 160, 160)
    assert 0.0 <= float(first.min()) <= float(first.max()) <= 1.0


def test_a_folder_of_models_is_a_set_of_pictures_with_whole_names_held_out(tmp_path: Path) -> None:
    names = tuple(f"thing{number}" for number in range(30))
    pictures = read_set(str(write_models(tmp_path / "models", names)))
    assert isinstance(pictures, ShapeSet)
    splits = {pictures.shapes[pair.group].name: pair.split for pair in pictures.pairs}
    assert splits == {name: "heldout" if held_out(name) else "train" for name in names}
    assert set(splits.values()) == {"heldout", "train"}
    assert len({pair.image for pair in pictures.pairs}) == len(pictures.pairs) == 30 * 3 * 7
    chosen = pictures.pairs[5:9]
    assert [pair.group for pair in chosen] == ["thing0-red.npz"] * 2 + ["thing0-blue.npz"] * 2
    alone = [next(pictures.shown([pair], 1)) for pair in chosen]
    assert all(map(torch.equal, pictures.shown(chosen, 1), alone))
    assert pictures.shapes["thing0-red.npz"].front_deg == 90.0


def test_questions_are_answered_by_the_right_sentences_alone(tmp_path: Path) -> None:
    names = tuple(f"thing{number}" for number in range(60))
    pictures = read_shapes(write_models(tmp_path / "models", names))
    pairs = heldout(pictures, 1000)
    asked = questions(pictures, pairs)
    assert {"colour", "name", "name, textureless"} <= set(asked)
    examination = about_models(pictures, pairs)
    right = torch.zeros(len(pairs), len(examination.sentences))
    for some in asked.values():
        for one in some:
            assert len(set(one.sentences)) == len(one.sentences)
            right[one.picture, examination.sentences.index(one.sentences[0])] = 1.0
    assert examination.figures(right) == [1.0] * len(examination.headings)
    assert examination.figures(torch.zeros_like(right)) == [
        float("R@5" in heading and len(asked["name"][0].sentences) <= 5) for heading in examination.headings
    ]
    drawn_at_random = torch.rand(right.shape, generator=torch.Generator().manual_seed(0))
    rate = answered(asked["colour"], examination.sentences, drawn_at_random)
    assert abs(rate - chance(asked["colour"])) < 0.2
    colours = [one.sentences for one in asked["colour"]]
    assert all(first.split()[-1] == second.split()[-1] and first != second for first, second in colours)


def test_of_held_out_models_the_first_ones_are_taken_whole(tmp_path: Path) -> None:
    pictures = read_shapes(write_models(tmp_path / "models", tuple(f"thing{number}" for number in range(60))))
    assert len(heldout(pictures, 2)) == 14


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    folder = write_models(tmp_path / "models")
    rows = (folder / "models.jsonl").read_text("utf-8")
    (folder / "models.jsonl").write_text(rows + '{"file": "x.npz", "name": "", "captions": []}\n', "utf-8")
    with pytest.raises(UsageError, match="line 13 of"):
        read_shapes(folder)
    row = json.loads(rows.splitlines()[0]) | {"file": "missing.npz"}
    (folder / "models.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    pictures = read_shapes(folder)
    with pytest.raises(UsageError, match=r"model missing\.npz cannot be read"):
        list(pictures.shown(pictures.pairs, 0))
    (folder / "models.zip").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="no zip file"):
        read_shapes(folder)
    assert read_set(str(write_set(tmp_path / "shapes"))).name == "shapes"
