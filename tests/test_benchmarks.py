"""Benchmarks that need a machine of their own are driven here at a tiny size, so that they run when they are needed."""

import importlib
import importlib.util
import io
import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dreamfields import api, paper
from dreamfields.api import Run
from dreamfields.cli import main as cli
from dreamfields.cli.generate import Generate
from dreamfields.errors import UsageError
from dreamfields.evaluate.classifier import Judgement, ViewJudgement, held_out_renderings
from dreamfields.evaluate.retrieval import captions, normalised
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.lit.towers import class_names, fold_batch_norms, lock
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.guidance.toy import ToyGuidance
from tests.guidance.lit.test_towers import shaken_network
from tests.support.architecture import ROOT
from tests.support.toys import TINY_EXPORT, tiny_config


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a benchmark as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # They share modules.
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # Dataclasses look their module up.
    spec.loader.exec_module(module)
    return module


def test_the_gpu_benchmark_times_every_recipe_and_says_what_a_run_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = load("gpu", monkeypatch)
    # `generate` itself is tested as a command elsewhere.
    monkeypatch.setattr(gpu, "quick", lambda tiny, device: (12.5, 10.0))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--steps", "3", "--warm-up", "1", "--out", str(tmp_path)])
    gpu.main()
    (table,), (figures,) = tmp_path.glob("*.md"), tmp_path.glob("*.json")
    assert table.read_text() == capsys.readouterr().out
    rows = json.loads(figures.read_text())
    assert len(rows) == 4
    for row in rows:
        assert len(row["seconds"]) == 3
        assert min(row["seconds"]) > 0.0
        assert row["name"] in table.read_text()
    assert rows[0]["occupied"] == 1.0  # The paper samples everything.
    assert "12.5 s, of which 10.0 s" in table.read_text()


def test_the_gpu_benchmark_times_the_paper_s_recipe_compiled_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    exact, skipping, *_ = gpu.recipes(tiny=False).values()
    for recipe in (exact, skipping):
        assert (recipe.render.size, recipe.augment.crop, recipe.render.samples) == (168, 154, 192)
        assert (recipe.optimize.backgrounds, recipe.mlp.precision, recipe.mlp.compiled) == (64, "bf16", True)
    assert exact.render.occupancy_threshold == 0.0 < skipping.render.occupancy_threshold
    row = gpu.Row("x", (0.3, 0.5), 0.1, 0.1, 1.0, 0.5, 1.0, "")
    assert row.ten_thousand == pytest.approx(0.4 * 10_000 / 3600)


def test_without_a_gpu_the_benchmark_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = load("gpu", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu"])
    with pytest.raises(SystemExit, match=r"there is no CUDA device here.*--tiny"):
        gpu.main()


def test_the_rows_of_the_ablation_lead_from_nerf_to_the_paper_s_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    ablation = load("ablation", monkeypatch)
    whole = ablation.whole_recipe("paper", None)
    assert whole == paper.MQ
    rows = ablation.recipes(whole)
    assert len(rows) == 9 + 6
    first = rows["simplified NeRF"]
    assert (first.field, first.mlp.encoding, first.mlp.directions) == ("nerf", "plain", "axes")
    assert (first.render.bounds, first.cameras.track, first.backgrounds.black) == (False, "off", 1.0)
    assert rows["+ tracked origin"] == rows["clipped additive transmittance"] == whole
    steps = list(rows.values())[:9]
    for above, below in itertools.pairwise(steps):
        # One part at a time.
        changed = [name for name, value in vars(below).items() if value != getattr(above, name)]
        assert len(changed) == 1, changed
    for row in ("gated transmittance", "beta prior", "density noise", "no regularizer"):
        assert rows[row].losses != whole.losses
        assert replace(rows[row], losses=whole.losses) == whole


def test_the_ablation_runs_from_end_to_end_and_is_not_made_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ablation = load("ablation", monkeypatch)
    judged: list[Path] = []

    def judge(run: Run) -> dict[str, float]:
        judged.append(run.path)
        return {"score": 0.5, "probability": 0.25}

    monkeypatch.setattr(ablation, "judge_of", lambda size: judge)
    monkeypatch.setattr(ablation, "SMALL_SHEETS", TINY_EXPORT)
    command = ["ablation.py", "--size", "tiny", "--steps", "1", "--device", "cpu", "--threads", "1"]
    command += ["--rows", "simplified NeRF", "+ tracked origin", "clipped additive transmittance"]
    command += ["--subjects", "a red ball"]
    command += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", command)
    ablation.main()
    assert len(judged) == 2  # The last rows of both tables are one object.
    with Image.open(tmp_path / "out" / "ablation_tiny.webp") as sheet:
        assert sheet.format == "WEBP"
    table = (tmp_path / "out" / "ablation_tiny.md").read_text()
    assert "| simplified NeRF | 31.4 ± 2.7 | 50.0 ± 50.0 | 25 | 1 |" in table
    assert "| clipped additive transmittance | 62.1 | 50.0 ± 50.0 | 25 | 1 |" in table
    assert "| + scene bounds | 65.4 ± 2.7 | not made |" in table
    ablation.main()
    assert len(judged) == 2
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["ablation.py", "--size", "tiny", "--rows", "nothing"])
    with pytest.raises(SystemExit, match="no row called 'nothing'; rows: simplified NeRF"):
        ablation.main()


TINY_RUN = (
    "--guidance.name toy --guidance.image-size 32 --steps 1 --render.size 12 --render.samples 8 "
    "--render.occupancy-cells 8 --voxels.coarsest-cells 2 --voxels.levels 2 --voxels.density-scale 10 "
    "--voxels.density-gain 5 --voxels.blob-strength 5 --voxels.blob-offset -1 --collapse.restarts 0 --device cpu "
    "--export.mesh-cells 16 --export.max-faces 500 --export.level 10 --export.texture-size 128 --export.sheet-size 32 "
    "--export.video-size 16 --export.video-frames 2 --export.lapse-frames 2 --export.still-samples 8"
)


class Stranger(AbstractGuidance):
    """A judge of colours that guided nothing."""

    name = "stranger"
    image_size = 24

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.toy = ToyGuidance(24)

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        return self.toy.encode_text(sentences)

    def encode_image(self, images: Tensor) -> Tensor:
        return self.toy.encode_image(images)


class Named:
    """A judge of nouns that sees a banana in five views of eight."""

    name, identity = "named", ""

    def judge(self, field: object, classes: list[str], *_: int) -> Judgement:
        views = tuple(ViewJudgement(45.0 * index, 0.25, "banana", index < 5, True) for index in range(8))
        return Judgement("named", tuple(classes), views)

    def centred_features(self, views: Sequence[object]) -> Tensor:
        return torch.ones(len(views), 3)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make runs in this process and return what is made, one after another."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    runs = importlib.import_module("runs")
    known: list[str] = []

    def make(prompt: str, plan: Any) -> Path:
        path: Path = runs.folder(prompt, plan)
        if not path.exists():
            asked = cli.parse(runs.command(prompt, plan), Console())
            assert isinstance(asked, Generate)
            run = api.start(asked.configuration, plan.runs)
            for _ in run.steps():
                pass
            run.finish()
            (path / "cost.json").write_text('{"seconds": 2.0, "peak_gb": 1.5}')
            known.append(prompt)
        return path

    monkeypatch.setattr(runs, "make", make)
    return known


def arguments(name: str, folder: Path, *more: str) -> list[str]:
    """Return a tiny benchmark's command line."""
    places = ["--runs", str(folder / "runs"), "--out", str(folder / "out")]
    return [f"{name}.py", *places, f"--extra={TINY_RUN}", *more]


def results(name: str, folder: Path) -> str:
    """Return a benchmark's table, after a look at its sheet."""
    (table,), (picture,) = (folder / "out").glob(f"{name}_quick_seed0_*.md"), (folder / "out").glob("*.webp")
    assert picture.stem == table.stem
    with Image.open(picture) as sheet:
        assert sheet.format == "WEBP"
        sheet.load()
    text = table.read_text()
    assert "outside | seconds | peak GB | attempts |" in text
    assert "--guidance.name toy" in text
    assert "median fog 0." in text
    return text


@pytest.mark.slow
def test_nouns_are_made_by_the_command_once_and_never_mixed_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nouns = load("nouns", monkeypatch)
    monkeypatch.setattr(nouns.dreamfields, "Judge", lambda device: Named())
    monkeypatch.setattr(sys, "argv", arguments("nouns", tmp_path, "--nouns", "banana"))
    nouns.main()
    assert "a banana: " in capsys.readouterr().err
    text = results("nouns", tmp_path)
    assert "**1 of 1** nouns are named right in at least 4 of 8 views; median fog 0." in text
    assert "| banana | 5 | 8 | 0.25 | banana | 0." in text
    nouns.main()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "argv", [*arguments("nouns", tmp_path)[:-1], "--nouns", "banana"])
    with pytest.raises(SystemExit, match=r"a-banana-0 was made by other settings; name another folder with --runs"):
        nouns.main()


@pytest.mark.slow
def test_an_object_that_comes_to_nothing_is_a_result_and_a_refused_command_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = load("runs", monkeypatch)
    plan = runs.Plan(runs=tmp_path, extra=f"{TINY_RUN} --export.level 1000")
    path = runs.make("a banana", plan)
    run = runs.opened(path)
    found = runs.outcome(run, held_out_renderings(run.trained_state().field, 12, 8))
    assert found.empty
    light = " ".join(runs.command("a banana", replace(plan, light=True)))
    assert runs.LIGHT in light
    assert runs.LIGHT not in " ".join(runs.command("a banana", plan))
    assert runs.cells(found)[-1] == "1, empty"
    with pytest.raises(SystemExit, match="generate ended with status 2 for 'a teapot'"):
        runs.make("a teapot", replace(plan, extra="--steps 0"))


def test_grids_and_a_network_are_made_in_the_same_time_and_shown_side_by_side(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = load("fields", monkeypatch)
    monkeypatch.setattr(fields.dreamfields, "Judge", lambda device: Named())
    monkeypatch.setattr(
        fields, "NETWORK", "--field mlp --mlp.width 8 --mlp.hidden 8 --mlp.frequencies 4 --export.level 0.5"
    )
    monkeypatch.setattr(fields, "JUDGED_SIZE", 24)
    monkeypatch.setattr(fields, "JUDGED_SAMPLES", 8)
    monkeypatch.setattr(fields, "seconds_a_step", lambda plan: 1.0)
    monkeypatch.setattr(fields, "median", lambda seconds: 3.2)
    networks = tmp_path / "networks"
    more = ("--network-runs", str(networks), "--nouns", "banana")
    monkeypatch.setattr(sys, "argv", arguments("fields", tmp_path, *more))
    fields.main()
    assert made == ["a banana", "a banana"]
    assert api.load(networks / "a-banana-0").config.recipe.optimize.steps == 3
    (table,) = (tmp_path / "out").glob("fields_quick_seed0_*.md")
    text = table.read_text()
    assert "* network: 1 of 1 named right in at least 4 of 8 views, mean probability 0.25" in text
    assert "| banana | voxels | 5 | 8 | 0.25 | " in text
    assert "| banana | mlp | 5 | 8 | 0.25 | " in text


def test_free_prompts_are_looked_for_among_all(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = load("prompts", monkeypatch)
    monkeypatch.setattr(prompts, "load_judge", Stranger)
    command = arguments("prompts", tmp_path, "--prompts", "a white unicorn", "a giraffe")
    monkeypatch.setattr(sys, "argv", command)
    prompts.main()
    prompts.main()
    assert made == ["a giraffe", "a white unicorn"]
    text = results("prompts", tmp_path)
    assert "| no class | 2 | " in text
    assert "| chance |  | 4.2% | 20.8% |" in text
    monkeypatch.setattr(prompts, "load_judge", lambda *_: ToyGuidance())
    with pytest.raises(UsageError, match="toy guided"):
        prompts.main()
    monkeypatch.setattr(sys, "argv", [*command, "a girafe"])
    with pytest.raises(SystemExit, match="no prompt called 'a girafe'; did you mean 'a giraffe'"):
        prompts.main()


def test_sides_are_compared_and_fronts_counted(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = load("faces", monkeypatch)
    monkeypatch.setattr(faces, "load_judge", Stranger)
    monkeypatch.setattr(faces, "Judge", lambda device: Named())
    monkeypatch.setattr(sys, "argv", arguments("faces", tmp_path, "--prompts", "a cat"))
    faces.main()
    assert made == ["a cat"]
    # `Named` finds all views alike.
    assert "median severity 1.000" in results("faces", tmp_path)
    assert len(set(faces.ALL)) == 24


def test_one_object_is_made_of_a_pair_and_compared_with_both_prompts(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = load("attributes", monkeypatch)
    monkeypatch.setattr(attributes, "load_judge", Stranger)
    monkeypatch.setattr(sys, "argv", arguments("attributes", tmp_path, "--pairs", "a red teapot", "a round table"))
    attributes.main()
    assert made == ["a red teapot", "a round table"]
    text = results("attributes", tmp_path)
    assert "| a red teapot | a blue teapot | " in text
    # Who knows colours alone cannot tell shapes: a tie is no success.
    assert "| a round table | a square table | no | 0 | " in text
    assert "| shape | 1 | 0.0 ± 0.0 % |" in text


def test_control_is_compared_with_none(made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = load("control", monkeypatch)
    monkeypatch.setattr(control, "load_judge", Stranger)
    monkeypatch.setattr(control, "CONTROLS", control.CONTROLS[2:])
    monkeypatch.setattr(sys, "argv", arguments("control", tmp_path))
    control.main()
    assert made == [control.PROMPT] * 3
    assert sum(line.startswith("| `") for line in results("control", tmp_path).splitlines()) == 3
    monkeypatch.setattr(control, "CONTROLS", (replace(control.CONTROLS[1], flags="--style stone"),))
    with pytest.raises(SystemExit, match="made by other settings; name another folder with --runs"):
        control.main()


def test_captions_are_looked_for_by_both_judges(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = load("captions", monkeypatch)
    monkeypatch.setattr(benchmark, "load_judge", Stranger)
    monkeypatch.setattr(sys, "argv", arguments("captions", tmp_path, "--count", "2", "--samples", "8"))
    benchmark.main()
    assert made == benchmark.spread()[:2]
    text = results("captions", tmp_path)
    for name in ("adapters", "closed form"):
        for look in ("colours", "textureless"):
            assert f"| {name} | {look} | " in text
    assert "| chance |  | 0.7% | 3.3% |" in text
    assert "among 153" in text
    for caption in made:
        assert f"| {caption} | " in text


def test_the_gallery_takes_further_arguments(made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = load("gallery", monkeypatch)
    monkeypatch.setattr(gallery, "SHOWN", ("umbrella",))
    monkeypatch.setattr(sys, "argv", arguments("gallery", tmp_path))
    gallery.main()
    assert made == ["an umbrella"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert "## an umbrella" in page
    assert "![an umbrella](an-umbrella-0.webp)" in page
    with Image.open(tmp_path / "out" / "an-umbrella-0.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (384, 192))
    assert '`dreamfields generate "an umbrella" --seed 0 --guidance.name toy' in page


def test_there_are_twenty_four_prompts_of_four_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = load("prompts", monkeypatch)
    assert [len(some) for some in prompts.PROMPTS.values()] == [6, 6, 6, 6]
    assert len(set(prompts.ALL)) == 24
    for prompt in prompts.PROMPTS["no class"]:
        assert not [name for name in class_names() if f" {name.lower()} " in f" {prompt} "]


def test_pairs_differ_in_one_word_and_no_word_is_favoured(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = load("attributes", monkeypatch).pairs()
    assert len({pair.made for pair in pairs} | {pair.swapped for pair in pairs}) == 48
    turned = []
    for pair in pairs:
        (_, made, *thing), (_, swapped, *same) = pair.made.split(), pair.swapped.split()
        assert thing == same
        turned.append((made, swapped))
    assert len(set(turned)) == 24
    assert {(swapped, made) for made, swapped in turned} == set(turned)


def test_captions_are_spread_over_the_paper_s(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = load("captions", monkeypatch).spread()
    places = [captions().index(caption) for caption in chosen]
    gaps = {after - before for before, after in itertools.pairwise(places)}
    assert len(chosen) == 24
    assert (places[0], places[-1]) == (0, 152)
    assert gaps <= {6, 7}
    # They are told apart by the judge as they were made.
    assert [normalised(clean_prompt(caption)) for caption in chosen] == chosen


def test_a_sheet_shows_front_and_back_below_the_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    runs = importlib.import_module("runs")
    picture = Image.new("RGB", (128, 64), "white")
    picture.paste("red", (0, 0, 32, 32))
    picture.paste("blue", (96, 0, 128, 32))
    picture.save(tmp_path / "contact_sheet.png")
    sheet = runs.sheet([(tmp_path, "one\nof two"), (tmp_path, "words " * 40)], columns=1)
    assert sheet.size == (64, 2 * (32 + 30))
    for top in (30, 92):
        assert [sheet.getpixel((x, top + 16)) for x in (16, 48)] == [(255, 0, 0), (0, 0, 255)]


def test_of_very_many_runs_a_sheet_is_about_square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    runs = importlib.import_module("runs")
    Image.new("RGB", (16, 8)).save(tmp_path / "contact_sheet.png")
    assert runs.sheet([(tmp_path, "")] * 24).size == (4 * 8, 6 * (4 + 16))
    width, height = runs.sheet([(tmp_path, "")] * 2295).size
    assert width < runs.WEBP_SIDE > height


def test_a_picture_too_large_for_webp_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    runs = importlib.import_module("runs")
    picture = Image.new("RGBA", (2 * runs.WEBP_SIDE, 20), "red")
    with Image.open(io.BytesIO(runs.webp(picture, lossless=True))) as read:
        assert (read.format, read.size) == ("WEBP", (runs.WEBP_SIDE, 10))
        assert read.convert("RGB").getcolors() == [(10 * runs.WEBP_SIDE, (255, 0, 0))]
    assert picture.size == (2 * runs.WEBP_SIDE, 20)


def test_results_say_no_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    runs = importlib.import_module("runs")
    assert runs.shown("--guidance.name lit:2+clip:/models/b16:1@0.3") == "--guidance.name lit:2+clip:b16:1@0.3"
    assert runs.shown("--guidance.adapters=../mine/a.safetensors --steps 3") == (
        "--guidance.adapters=a.safetensors --steps 3"
    )


def test_the_benchmark_of_exports_reads_a_glb_back_in_scene_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = load("export", monkeypatch)
    run = api.start(tiny_config(), tmp_path / "runs")
    for _ in run.steps():
        pass
    asset = run.asset(size_mm=30.0)
    vertices = asset.untextured.vertices
    shape = export.read(run.export(tmp_path / "a.glb", asset))
    assert shape.bounds.ravel() == pytest.approx([*vertices.min(axis=0), *vertices.max(axis=0)], abs=1e-5)
    assert max(export.read(run.export(tmp_path / "a.stl", asset)).extents) == pytest.approx(30.0, rel=1e-5)


@pytest.mark.parametrize("pixels", [32, 61])
def test_the_multiply_adds_of_a_tower_are_those_that_torch_counts(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    towers = load("towers", monkeypatch)
    network = lock(fold_batch_norms(shaken_network("efficientnet-lite0")))
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, pixels, pixels))
    assert towers.multiply_adds(network, pixels) == counter.get_total_flops()  # Both ways; an operation each of two.


def test_the_towers_are_timed_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    towers = load("towers", monkeypatch)
    monkeypatch.setattr(towers, "REPEATS", 1)
    times = towers.time_towers(1, [32], [1])
    assert len(times) == 2
    assert all(min(one.by_torch, one.compiled, one.speedup, one.times_floor) > 0.0 for one in times)
    assert len(towers.table(times)) == 1 + 1 + 2 + 2


def test_the_whole_command_is_timed_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = load("command", monkeypatch)
    words = ["--preset", "draft", "--guidance", "toy", "--prompt", "a red ball", "--steps", "8", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["command.py", *words, "--out", str(tmp_path)])
    command.main()
    (table,) = tmp_path.glob("*.md")
    assert table.read_text() == capsys.readouterr().out
    rows = [line.split("|") for line in table.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 9
    assert sum(float(share) for *_, share, _ in rows) == pytest.approx(100.0, abs=0.5)
