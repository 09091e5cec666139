"""Retrieval: captions, ranks by hand, judges that are refused, and the images that are judged."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dreamfields import api
from dreamfields.cli.main import main
from dreamfields.cli.run_folder import find_runs
from dreamfields.errors import UsageError
from dreamfields.evaluate.judges import check_judge, judge_member, load_judge
from dreamfields.evaluate.report import retrieval_json, retrieval_page
from dreamfields.evaluate.retrieval import Candidate, Fraction, captions, judge_objects, normalised, rank, render_pair
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.render.shading import AMBIENT, DIFFUSE, ShadedField
from dreamfields.scene.fields.base import Query
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import VoxelSettings
from tests.support.toys import TINY, tiny_config

CPU = torch.device("cpu")


def ball(colour: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> VoxelField:
    """A solid ball of radius 0.5, a little soft, grey unless told otherwise, in decorrelated values."""
    field = VoxelField(
        VoxelSettings(coarsest_cells=32, levels=1, density_gain=1.0, blob_strength=0.0, blob_offset=-20.0)
    )
    axis = torch.linspace(-1.0, 1.0, 33)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    with torch.no_grad():
        field.grids[0][..., 0] = (80.0 * (0.75 - torch.sqrt(x * x + y * y + z * z))).clamp(0.0, 60.0)
        field.grids[0][..., 1:] = torch.tensor(colour)
    return field


def test_there_are_153_captions_in_one_form_and_none_stands_twice() -> None:
    known = captions()
    assert len(known) == len(set(known)) == 153
    for caption in known:
        assert caption == normalised(caption) == caption.lower()
        assert caption.endswith(".")
        assert not caption.endswith("..")
    assert "a blue bicycle parked by a metal gate." in known


def test_captions_come_into_their_form() -> None:
    assert normalised("  A red Ball, ..") == "a red ball."
    assert normalised("a red ball") == "a red ball."


NAMES = ("a.", "b.", "c.", "d.", "e.", "f.")


@pytest.mark.parametrize(("own", "place"), [("c.", 1), ("a.", 2), ("f.", 5), ("e.", 5), ("b.", 6)])
def test_ranks_by_hand_and_a_tie_counts_against_the_own_caption(own: str, place: int) -> None:
    found = rank(torch.tensor([0.5, -0.1, 0.9, 0.4, 0.2, 0.2]), NAMES, own)
    assert (found.rank, found.nearest) == (place, "c.")


def test_the_standard_error_is_that_of_a_fraction() -> None:
    # The paper's 59.8 % of 306 objects, with 2.8.
    assert Fraction(0.598, 306).error == pytest.approx(0.028, abs=5e-4)
    assert Fraction(0.0, 4).error == Fraction(1.0, 4).error == 0.0
    assert Fraction(0.25, 12).error == pytest.approx(math.sqrt(0.25 * 0.75 / 12))


class Scripted(AbstractGuidance):
    """A judge for which every image with colours shows one caption, and every textureless one the first."""

    name = "scripted"
    image_size = 24

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self.asked: list[list[str]] = []

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        self.asked.append(list(sentences))
        known = captions()
        return torch.eye(154)[[known.index(one) if one in known else 153 for one in sentences]]

    def encode_image(self, images: Tensor) -> Tensor:
        return torch.stack([torch.eye(154)[self.place], torch.eye(154)[0]])


def test_a_fraction_is_of_the_objects_whose_own_caption_is_found() -> None:
    known = captions()
    candidates = [Candidate(f"run {index}", known[index], ball()) for index in (7, 7, 3)]
    candidates.append(Candidate("another", "A Prompt of my own", ball()))
    judge = Scripted(7)
    found = judge_objects(judge, candidates, samples=16)
    assert found.fraction(1) == Fraction(0.5, 4)
    assert found.fraction(1, textureless=True).value == 0.0
    assert found.chance(1) == pytest.approx(1 / 153)
    assert judge.asked == [list(known), ["a prompt of my own."]]  # It joins the captions, for its own run alone.
    values = retrieval_json(found)
    assert json.loads(json.dumps(values)) == values
    assert values["colour_r_at_1"] == {"value": 0.5, "standard_error": 0.25, "objects": 4}
    assert values["textureless_r_at_1"]["value"] == 0.0
    assert values["objects"][0]["colour"] == {"rank": 1, "similarity": 1.0, "nearest": known[7]}


def test_the_page_holds_every_image_and_nothing_that_a_prompt_could_break() -> None:
    prompt = "<script>alert(1)</script> & more"
    page = retrieval_page(judge_objects(Scripted(7), [Candidate("x", prompt, ball())], samples=8))
    assert page.count("data:image/png;base64,") == 2
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more." in page
    assert "0.0 ± 0.0 %" in page


def test_the_held_out_view_is_white_around_an_object_in_the_middle() -> None:
    pair = render_pair(Candidate("x", "x", ball()), 40, 64)
    for image in (pair.colour, pair.textureless):
        assert image.shape == (3, 40, 40)
        assert float(image[:, 0].min()) == pytest.approx(1.0)
    assert float(pair.colour[:, 20, 20].mean()) == pytest.approx(0.5, abs=0.05)


def test_a_textureless_image_is_grey_lit_from_one_side_and_ignores_colours() -> None:
    colours = ((0.0, 0.0, 0.0), (0.5, 0.3, 0.2))
    views = [render_pair(Candidate("x", "x", ball(colour)), 40, 64).textureless for colour in colours]
    assert torch.allclose(views[0], views[1], atol=1e-5)
    middle = views[0][:, 12:28, 12:28]
    assert torch.equal(middle[0], middle[1])
    assert float(middle.std()) > 0.05


def test_normals_of_a_ball_point_outwards_and_shade_by_lambert_s_law() -> None:
    light = torch.nn.functional.normalize(torch.tensor([0.3, 0.8, 0.5]), dim=0)
    shaded = ShadedField(ball(), (0.3, 0.8, 0.5), cells=64)
    outward = torch.nn.functional.normalize(torch.randn((50, 3), generator=torch.Generator().manual_seed(0)), dim=-1)
    ones = torch.ones(50)
    with torch.no_grad():
        values = shaded.evaluator()(Query(0.5 * outward, outward, ones, ones))
    expected = AMBIENT + DIFFUSE * (outward @ light).clamp(min=0.0)
    assert torch.allclose(values.colour[:, 0], expected, atol=0.1)


def test_who_guided_may_not_judge() -> None:
    toy = ToyGuidance()
    with pytest.raises(UsageError, match=r"toy guided runs/x, so it cannot judge it.*--judge"):
        check_judge(toy, ["lit-lite0", "toy"], ["", ""], "runs/x")
    toy.identity = "abc"
    with pytest.raises(UsageError, match="cannot judge"):  # The same files under another name.
        check_judge(toy, ["clip:elsewhere"], ["abc"], "runs/x")
    check_judge(toy, ["lit-lite0", "lit-lite2"], ["", ""], "runs/x")


@pytest.mark.parametrize("name", ["lit+toy", "toy:2", "lit+clip:a/b"])
def test_a_judge_is_one_model_without_a_weight(name: str) -> None:
    with pytest.raises(UsageError, match="it must be one model"):
        judge_member(name)


def test_the_default_judge_is_the_tower_that_never_guides() -> None:
    judge = load_judge("lit", CPU)
    assert judge.name == "lit-lite1"
    assert judge.image_size == 240


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the toy guidance with a few steps behind them."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        recipe = replace(TINY, optimize=replace(TINY.optimize, steps=2))
        for _ in api.start(tiny_config(recipe, seed=seed), folder).steps():
            pass
    return folder


def test_the_command_writes_figures_and_page_and_refuses_who_guided(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [path.name for path in find_runs(runs)] == ["a-red-ball-0", "a-red-ball-1"]
    command = ["evaluate", "retrieval", str(runs), "--out", str(tmp_path / "out"), "--samples", "8"]
    assert main([*command, "--judge", "toy"]) == 2
    assert "toy guided" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("dreamfields.cli.retrieval.load_judge", lambda name, device: Scripted(7))
    assert main(command) == 0
    assert json.loads((tmp_path / "out" / "retrieval.json").read_text())["colour_r_at_5"]["objects"] == 2
    assert (tmp_path / "out" / "retrieval.html").read_text().startswith("<!doctype html>")
    assert "R@1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name the runs to judge"),
        (["missing"], "no run"),
        (["missing", "--judge", "nobody"], "no run"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "retrieval", *arguments]) == 2
    assert sentence in capsys.readouterr().err
