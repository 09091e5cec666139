"""The command line: mistakes cost one sentence and no torch, and a run that is stopped says how to go on."""

import importlib.util
import io
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import trimesh
from PIL import Image
from rich.console import Console

from dreamfields import __version__, api
from dreamfields.cli import doctor
from dreamfields.cli import main as cli
from dreamfields.cli.doctor import Doctor
from dreamfields.cli.generate import Generate
from dreamfields.cli.main import main
from dreamfields.cli.retrieval import Retrieval
from dreamfields.cli.run_folder import complete
from dreamfields.cli.runs import Runs
from dreamfields.cli.terminal import console_on
from dreamfields.config import Config
from dreamfields.errors import MissingPackageError, StorageError
from dreamfields.evaluate import classifier as judge
from dreamfields.export.mesh import unwrap
from dreamfields.guidance.lit.weights import GUIDING_TOWERS, MINILM
from dreamfields.presets import PRESETS
from dreamfields.runs.checkpoint import load_newest, manifests
from dreamfields.runs.directory import RunDirectory
from dreamfields.storage import atomic_write
from tests.support.architecture import HEAVY_PACKAGES
from tests.support.toys import PROMPT, sha256_of, tiny_config

ABSENT = "mps" if torch.cuda.is_available() else "cuda"
"""A device that is not there: no machine has both."""

TINY_OPTIONS = shlex.split("""
    --guidance.name toy --guidance.image-size 32
    --voxels.coarsest-cells 2 --voxels.levels 2
    --render.size 12 --render.samples 12 --render.occupancy-cells 8
    --optimize.views 1 --optimize.backgrounds 1 --optimize.checkpoint-every 50
    --export.mesh-cells 16 --export.max-faces 500 --export.level 10 --export.still-samples 8
    --export.texture-size 128 --export.lapse-frames 3
    --export.sheet-size 16 --export.video-size 16 --export.video-frames 3
    --device cpu --threads 1
""")


def environment(*first: Path) -> dict[str, str]:
    """Return the environment with folders that Python looks into before all others."""
    folders = [*map(str, first), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders), "COLUMNS": "80"}


@pytest.fixture(scope="module")
def no_heavy_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules in the place of torch and the like, which end the process when imported."""
    folder = tmp_path_factory.mktemp("heavy")
    for name in HEAVY_PACKAGES:
        (folder / f"{name}.py").write_text(f"import os\nos.write(2, b'{name} was imported')\nos._exit(99)\n")
    return folder


def run_light(folder: Path, *arguments: str, more: tuple[Path, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run the command where nothing heavy can be imported, and make sure that it takes less than a second.

    What is timed is the processor's work, for the clock also counts what else the machine does. Even that only grows by
    what the other core does, so the least of three is the command's own.
    """
    spent: list[float] = []
    while not spent or (spent[-1] >= 1.0 and len(spent) < 3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "dreamfields", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment(*more, folder),
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 1.0
    return done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", ""], "the prompt is empty; say what to make"),
        (["generate", " \n "], "the prompt is empty"),
        (["generate", "x" * 3000], "the prompt has 3000 characters; at most 2000 are allowed"),
        (["generate", PROMPT, "--preset", "qick"], "no preset called 'qick'; did you mean 'quick'?"),
        (["generate", PROMPT, "--preset=standart"], "did you mean 'standard'?"),
        (["generate", PROMPT, "--preset="], "no preset called ''"),
        (["generate", PROMPT, "--stepz", "3"], "no option --stepz; did you mean --steps?"),
        (["generate", PROMPT, "--voxels.level=3"], "no option --voxels.level; did you mean --voxels.levels?"),
        (["generate", PROMPT, "--steps", "-5"], "steps is -5; it must be from 1 to 10,000,000"),
        (["generate", PROMPT, "--steps", "0"], "steps is 0"),
        (["generate", PROMPT, "--seed", "-1"], "seed is -1"),
        (["generate", PROMPT, "--out", "FILE"], "which is a file; name a folder for the runs"),
        (["generate", PROMPT, "--device", "warp"], "device is 'warp'; it must be one of auto, cpu, cuda, mps"),
        (["generate", PROMPT, "--device", ABSENT], f"device is '{ABSENT}'"),
        (["generate", "a", "teapot"], "one argument too many: 'teapot'; put a prompt of several words in quotes"),
        (
            ["generate", PROMPT, "--guidance.name", "clop:x"],
            "no guidance called 'clop:x'; it must be lit, toy or clip:",
        ),
        (["generate", PROMPT, "--guidance.name", "lit@0.5"], "one of its models must start at 0"),
        (["generate", PROMPT, "--negative-weight", "-1"], "negative_weight is -1.0; it must be from 0 to 10"),
        (["generate", PROMPT, "--negative-prompt", " "], "negative_prompt holds a text with nothing to read in it"),
        (
            ["generate", PROMPT, "--azimuth-prompts", "front:{}", "top:{}"],
            "azimuth_prompts hold 'top:{}'; each must",
        ),
        (["generate", PROMPT, "--azimuth-prompts", "0:{}", "front:{}"], "azimuth_prompts name 0 degrees twice"),
        (["generate", PROMPT, "--geometry-promt", "a"], "no option --geometry-promt; did you mean --geometry-prompt?"),
        (
            ["generate", "-a teapot"],
            "'-a teapot' begins with a dash, as options do; a prompt like that comes last, after --",
        ),
        (["generate", "--", "-a teapot", "--steps", "3"], "--steps comes after --, where all is plain text"),
        (["generate", PROMPT, "--out", "~no-such-user/x"], "a home folder that is not known; write the whole path"),
        (["generate", "\u8336\u58f6"], "lit can read no word of the prompt, '\u8336\u58f6'; it reads English"),
        (["generate", PROMPT, "--paraphrases", "a ball", "\u7403"], "lit can read no word of paraphrases, '\u7403'"),
        (["models", "download"], "name a model, for example: dreamfields models download openai/clip-vit-base-patch16"),
        (["models", "download", "FOLDER"], "is not the id of a model; it must be owner/name"),
        (["genrate", PROMPT], "no command called 'genrate'; did you mean 'generate'?"),
        (["resume", "FOLDER"], "holds no run (no run.json)"),
        (["export", "FOLDER"], "holds no run"),
        (["view", "FOLDER"], "holds no run"),
        (["export", "FOLDER", "--size-mm", "0"], "size_mm is 0.0; it must be from 0.1 to 100,000"),
        (["export", "FOLDER", "--texture-size", "-1"], "texture_size is -1; it must be from 0 to 8,192"),
        (["render", "FOLDER", "--zoom", "0"], "zoom is 0.0; it must be from 0.1 to 20"),
        (["render", "FOLDER", "--out", "x"], "'x' has no ending, which says the picture format; give it one of .png"),
        (["render", "FOLDER", "--out", "x.gif"], "no picture format called '.gif'; known: .png, .jpg, .jpeg, .webp"),
        (["render", "FOLDER", "--out", "x.JPG", "--transparent"], ".JPG cannot leave the background out; use .png or"),
        (["video", "FOLDER", "--out", "x.avi"], "no video format called '.avi'; known: .mp4, .webm, .gif, .webp"),
        (["video", "FOLDER", "--path", "FILE"], "cannot be read as a camera path"),
        (["video", "FOLDER", "--fps", "0"], "fps is 0; it must be from 1 to 60"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_exit_2_before_anything_heavy(
    no_heavy_packages: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("")
    places = {"FILE": str(tmp_path / "file"), "FOLDER": str(tmp_path)}
    done = run_light(no_heavy_packages, *(places.get(argument, argument) for argument in arguments))
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("dreamfields: ")
    assert said in sentence


@pytest.mark.parametrize("package", [*(tower.weights for tower in GUIDING_TOWERS), MINILM], ids=lambda one: one.package)
def test_a_missing_weight_package_is_one_sentence_with_the_command_and_exit_3(
    no_heavy_packages: Path, tmp_path: Path, package: Any
) -> None:
    (tmp_path / f"{package.module}.py").write_text("")
    out = tmp_path / "runs"
    done = run_light(no_heavy_packages, "generate", PROMPT, "--out", str(out), more=(tmp_path,))
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.endswith(f"run: pip install {package.package}")
    assert not out.exists()


def test_a_name_that_is_taken_says_how_to_go_on(no_heavy_packages: Path, tmp_path: Path) -> None:
    RunDirectory(tmp_path / "a-red-ball-0").write_record({})
    done = run_light(no_heavy_packages, "generate", PROMPT, "--out", str(tmp_path), *TINY_OPTIONS)
    assert done.returncode == 2
    assert f"continue it with: dreamfields resume {tmp_path / 'a-red-ball-0'}" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_is_quick_and_names_every_command(no_heavy_packages: Path, arguments: list[str]) -> None:
    done = run_light(no_heavy_packages, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for name in cli.COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_the_version_is_quick(no_heavy_packages: Path) -> None:
    done = run_light(no_heavy_packages, "--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate", PROMPT, "--steps", "many"], "--steps is 'many'; it must be a whole number"),
        (["generate", PROMPT, "--optimize.learning-rate=x"], "--optimize.learning-rate is 'x'; it must be a number"),
        (["generate", PROMPT, "--field", "grid"], "--field is 'grid'; it must be one of voxels, mlp"),
        (["resume"], "RUN"),
        (["generate", "--preset"], "Missing value for argument '--preset'"),
        (["generate", PROMPT, "--render.size"], "Missing value for argument '--render.size'"),
        (["render", "runs/x", "--size", "1", "2"], "one argument too many: '2'"),
    ],
)
def test_a_value_of_the_wrong_kind_or_none_is_one_sentence_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert said in sentence


def test_all_mistakes_are_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "--steps many --seed -1 --voxels.levels 99 --render.size=0 --field grid --optimize.views x --losses.fog nan"
    assert main(["generate", " ", *wrong.split(), "--stepz", "3"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    for part in (
        "the prompt is empty",
        "--steps is 'many'",
        "seed is -1",
        "levels is 99; it must be from 1 to 7",
        "size is 0",
        "--field is 'grid'",
        "--optimize.views is 'x'",
        "fog is nan",
        "did you mean --steps?",
    ):
        assert sentence.count(part) == 1


def configured(*arguments: str) -> dict[str, Any]:
    """Return the settings that `generate` would work with, by dotted name."""
    command = cli.parse(["generate", PROMPT, *arguments], Console())
    assert isinstance(command, Generate)
    return dict(flat(command.configuration.to_json()))


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("form", ["--preset {}", "--preset={}"])
def test_a_preset_is_its_recipe_and_its_export(preset: str, form: str) -> None:
    expected = Config(PROMPT, recipe=PRESETS[preset].recipe, export=PRESETS[preset].export)
    assert configured(*form.format(preset).split()) == dict(flat(expected.to_json()))


@pytest.mark.parametrize("place", [0, -1])
def test_an_option_changes_what_it_names_and_nothing_else(place: int) -> None:
    chosen = ["--preset", "standard"]
    plain = configured(*chosen)
    for option, name, value in [
        ("--steps=7", "recipe.optimize.steps", 7),
        ("--guidance=toy", "recipe.guidance.name", "toy"),
        ("--seed=7", "seed", 7),
        ("--threads=3", "threads", 3),
        ("--device=cpu", "device", "cpu"),
        ("--voxels.levels=2", "recipe.voxels.levels", 2),
        ("--field=mlp", "recipe.field", "mlp"),
        ("--negative-prompt=people", "prompts.negative_prompt", "people"),
        ("--negative-weight=2", "prompts.negative_weight", 2.0),
        ("--paraphrases=a ball that is red", "prompts.paraphrases", ("a ball that is red",)),
        ("--azimuth-prompts=back:{}, back view", "prompts.azimuth_prompts", ("back:{}, back view",)),
        ("--geometry-prompt=a ball", "prompts.geometry_prompt", "a ball"),
        ("--geometry-weight=2", "prompts.geometry_weight", 2.0),
        ("--style=made of glass", "prompts.style", "made of glass"),
        ("--mlp.width=16", "recipe.mlp.width", 16),
        ("--losses.fog=0.125", "recipe.losses.fog", 0.125),
        ("--export.video-fps=9", "export.video_fps", 9),
    ]:
        changed = configured(*([option, *chosen] if place == 0 else [*chosen, option]))
        assert {key: changed[key] for key in plain if changed[key] != plain[key]} == {name: value}


@contextmanager
def started(*arguments: str, before: str = ":") -> "Iterator[subprocess.Popen[str]]":
    """Start the command after one of the shell; it is killed on the way out, and in any case after five minutes."""
    process = subprocess.Popen(
        ["sh", "-c", f'{before}; exec "$@"', "sh", sys.executable, "-m", "dreamfields", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    timer = threading.Timer(300.0, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def stopped(process: "subprocess.Popen[str]", number: signal.Signals) -> tuple[int, list[str], str]:
    """Send a signal once the first steps are shown, and return exit code, the lines after it and the errors."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step "):
            break
    process.send_signal(number)
    output, errors = process.communicate()
    return process.returncode, output.splitlines(), errors


def test_a_run_that_is_stopped_twice_says_how_to_go_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    options = [PROMPT, "--out", str(tmp_path / "stopped"), "--steps", "150", *TINY_OPTIONS]
    folder = tmp_path / "stopped" / "a-red-ball-0"
    done = []
    for arguments, number in [(["generate", *options], signal.SIGINT), (["resume", str(folder)], signal.SIGTERM)]:
        with started(*arguments) as process:
            code, lines, errors = stopped(process, number)
        assert (code, errors) == (128 + number, ""), lines
        said = [line for line in lines if not line.startswith("step ")]
        assert said == [f"stopped and saved; go on with: dreamfields resume {folder}"]
        assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
        done.append(load_newest(folder / "checkpoints").counters["step"])
    assert 0 < done[0] < done[1] < 150
    assert main(["resume", str(folder)]) == 0

    whole = tmp_path / "whole" / "a-red-ball-0"
    assert main(["generate", PROMPT, "--out", str(tmp_path / "whole"), "--steps", "150", *TINY_OPTIONS]) == 0
    for ours, theirs in zip(manifests(whole / "checkpoints"), manifests(folder / "checkpoints"), strict=True):
        if ours.stem.endswith("150"):
            assert ours.read_bytes() == theirs.read_bytes()
            assert sha256_of(ours.with_suffix(".safetensors")) == sha256_of(theirs.with_suffix(".safetensors"))
    assert (whole / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()
    assert (whole / "object.glb").read_bytes() == (folder / "object.glb").read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("runs")
    assert main(["generate", PROMPT, "--out", str(out), "--steps", "6", *TINY_OPTIONS]) == 0
    return out / "a-red-ball-0"


def test_resuming_a_finished_run_says_that_nothing_is_left(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    assert main(["resume", str(finished)]) == 0
    assert "is finished already" in capsys.readouterr().out
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_render_writes_a_picture(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    assert main(["render", str(finished), "--size", "24", "--zoom", "0.5", "--out", str(path)]) == 0
    assert capsys.readouterr().out == f"wrote {path}\n"
    with Image.open(path) as picture:
        assert (picture.size, picture.mode) == ((24, 24), "RGB")
        assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert main(["render", str(finished), "--size", "24", "--zoom", "0.5", "--transparent"]) == 0
    with Image.open(finished / "render.png") as picture:
        assert picture.mode == "RGBA"
        alpha = picture.getchannel("A")
        assert alpha.getpixel((0, 0)) == 0
        assert alpha.getpixel((12, 12)) > 128  # type: ignore[operator]


@pytest.mark.parametrize(("suffix", "mode"), [(".JPG", "RGB"), (".jpeg", "RGB"), (".webp", "RGBA"), (".PNG", "RGBA")])
def test_render_writes_the_format_of_the_ending(finished: Path, tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"a{suffix}"
    options = ["--zoom", "0.5", *(["--transparent"] if mode == "RGBA" else [])]
    assert main(["render", str(finished), "--size", "24", "--out", str(path), *options]) == 0
    with Image.open(path) as picture:
        codec = {".JPG": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".PNG": "PNG"}[suffix]
        assert (picture.format, picture.mode, picture.size) == (codec, mode, (24, 24))
    assert PROMPT.encode() in path.read_bytes()


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".STL", ".3mf"])
def test_export_writes_a_mesh_of_each_format(finished: Path, tmp_path: Path, suffix: str) -> None:
    path, unit_mm = tmp_path / f"object{suffix}", {".glb": 1000.0, ".STL": 1.0, ".3mf": 1.0}.get(suffix)
    size = ["--size-mm", "30"] if unit_mm else []
    assert main(["export", str(finished), "--out", str(path), *size]) == 0
    shape = trimesh.load_scene(path).to_mesh()
    assert len(shape.faces) > 50
    if unit_mm:
        assert max(shape.extents) * unit_mm == pytest.approx(30.0, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "code", "said"),
    [
        ("x.fbx", [], 2, "no mesh format called '.fbx'; known: .glb, .obj, .ply, .stl, .3mf, .usdz, .npz, .html"),
        ("x", [], 2, "'x' has no ending, which says the mesh format"),
        ("x.ply", ["--size-mm", "80"], 2, ".ply has no unit of length; leave --size-mm out"),
        ("cup.obj", [], 2, "cup.png would be replaced and is no part of an earlier export"),
        ("x.usdz", [], 3, "USDZ needs the package usd-core; run: pip install usd-core, or export to .glb"),
    ],
)
def test_an_export_that_cannot_be_written_is_refused_before_anything_heavy(
    no_heavy_packages: Path, finished: Path, tmp_path: Path, name: str, options: list[str], code: int, said: str
) -> None:
    (tmp_path / "cup.png").write_bytes(b"mine")
    if code == 3 and importlib.util.find_spec("pxr") is not None:
        pytest.skip("usd-core is installed")
    done = run_light(no_heavy_packages, "export", str(finished), "--out", str(tmp_path / name), *options)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (sentence,) = done.stderr.splitlines()
    assert said in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["cup.png"]


def test_a_forced_export_replaces_what_is_beside_it(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(b"mine")
    assert main(["export", str(finished), "--out", str(tmp_path / "cup.obj"), "--force"]) == 0
    with Image.open(tmp_path / "cup.png") as texture:
        assert texture.size == (128, 128)
    assert main(["export", str(finished), "--out", str(tmp_path / "cup.obj")]) == 0


def test_export_says_when_a_texture_is_not_what_it_should_be(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys; sys.exit(3)")
    monkeypatch.setattr(unwrap, "PROGRAM", program)
    assert main(["export", str(finished), "--out", str(tmp_path / "object.glb"), "--max-faces", "200"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "note: the texture is laid out triangle by triangle: xatlas is not installed"
    )


def test_video_follows_a_path_and_shows_a_pass(finished: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "path.json").write_text('{"path": "spiral", "frames": 3}')
    out = tmp_path / "spiral.gif"
    options = ["--path", str(tmp_path / "path.json"), "--show", "textureless", "--size", "15", "--out", str(out)]
    assert main(["video", str(finished), *options]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    with Image.open(out) as film:
        assert (film.size, film.n_frames) == ((15, 15), 3)  # type: ignore[attr-defined]


def test_an_unknown_format_is_refused(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(finished), "--out", str(tmp_path / "object.obx")]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "no mesh format called '.obx'; did you mean '.obj'? known: .glb" in sentence


def test_evaluate_shows_a_table_and_keeps_it(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "VIEWS", 2)
    assert main(["evaluate", str(finished), "--classes", "teapot", "banana"]) == 0
    shown = capsys.readouterr().out
    assert "looks for: teapot, banana" in shown
    report = json.loads((finished / "evaluation.json").read_text())
    assert (report["of"], report["classes"], len(report["views"])) == (2, ["teapot", "banana"], 2)
    assert main(["evaluate", str(finished), "--classes", "teapott"]) == 2
    assert "did you mean 'teapot'?" in capsys.readouterr().err


def damaged(folder: Path) -> None:
    (folder / "run.json").write_text("{")


def emptied(folder: Path) -> None:
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(("damage", "code"), [(damaged, 4), (emptied, 4)])
@pytest.mark.parametrize("command", ["resume", "render", "export"])
def test_a_damaged_run_is_one_sentence_and_exit_4(
    tmp_path: Path, damage: Callable[[Path], None], code: int, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = api.start(tiny_config(), tmp_path)
    steps = run.steps()
    next(steps)
    steps.close()
    damage(run.path)
    assert main([command, str(run.path)]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_run_in_use_is_one_sentence_and_exit_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = api.start(tiny_config(), tmp_path)
    with run.directory.locked():
        assert main(["resume", str(run.path)]) == 5
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "is in use by process" in sentence


def test_a_run_in_use_is_refused_before_anything_heavy(no_heavy_packages: Path, tmp_path: Path) -> None:
    run = api.start(tiny_config(), tmp_path)
    with run.directory.locked():
        for arguments in (["resume", str(run.path)], ["generate", PROMPT, "--out", str(tmp_path), *TINY_OPTIONS]):
            done = run_light(no_heavy_packages, *arguments)
            assert done.returncode == 5
            assert f"in use by process {os.getpid()} on " in done.stderr


def test_a_broken_record_is_refused_before_anything_heavy(no_heavy_packages: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 1, "status": "started", "config": {"seed": -1, "sede": 2}}')
    done = run_light(no_heavy_packages, "resume", str(tmp_path))
    assert done.returncode == 4
    (sentence,) = done.stderr.splitlines()
    for part in ("prompt is missing", "no setting of Config called 'sede'; did you mean 'seed'?"):
        assert part in sentence


def test_a_prompt_that_begins_with_a_dash_comes_after_two_of_them() -> None:
    command = cli.parse(["generate", "--steps", "3", "--", "-a teapot"], console_on(None))
    assert isinstance(command, Generate)
    assert (command.prompt, command.steps) == ("-a teapot", 3)


@pytest.mark.parametrize("form", ["--out=~/new", "--out ~/new"])
def test_a_home_folder_that_no_shell_has_put_in_is_put_in(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    command = cli.parse(["generate", PROMPT, *form.split()], console_on(None))
    assert isinstance(command, Generate)
    assert command.out == tmp_path / "new"
    assert cli.parse(["runs", "~/new"], console_on(None)) == Runs(tmp_path / "new")
    retrieval = cli.parse(["evaluate", "retrieval", "~/a", "b"], console_on(None))
    assert isinstance(retrieval, Retrieval)
    assert retrieval.folders == (tmp_path / "a", Path("b"))


def test_a_path_is_printed_as_it_is_and_a_command_so_that_it_can_be_pasted(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "my [/b] runs/a-red-ball-0")
    odd = "a [/b]'s [red].png"
    assert main(["render", str(finished), "--size", "16", "--out", odd]) == 0
    assert capsys.readouterr().out == f"wrote {odd}\n"
    assert main(["generate", PROMPT, "--guidance", "toy", "--out", "my [/b] runs"]) == 2
    sentence = capsys.readouterr().err.rstrip("\n")
    words = shlex.split(sentence.partition("continue it with: ")[2])
    assert words == ["dreamfields", "resume", "my [/b] runs/a-red-ball-0"]
    assert main(words[1:]) == 0
    assert RunDirectory(Path("-x/a")).resume_command == "dreamfields resume ./-x/a"


def test_a_run_that_nobody_may_write_to_can_be_used(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(path: Path, content: bytes) -> None:
        if path.is_relative_to(run):
            raise StorageError(f"cannot write {path}: Permission denied; choose another place")
        atomic_write(path, content)

    def locked(_: RunDirectory) -> None:
        raise StorageError("cannot work there")

    run = shutil.copytree(finished, tmp_path / "run")
    for module in ("runs.directory", "runs.run", "export.formats.table", "export.pictures.video", "cli.evaluate"):
        monkeypatch.setattr(f"dreamfields.{module}.atomic_write", refused)
    monkeypatch.setattr(RunDirectory, "locked", locked)
    view = judge.ViewJudgement(0.0, 0.5, "ball", True, True)
    monkeypatch.setattr(api.Run, "evaluate", lambda *_: judge.Judgement("judge", ("ball",), (view,)))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    mine = tmp_path / "mine"
    mine.mkdir()
    for command in (
        ["export", str(run), "--out", str(mine / "x.glb")],
        ["video", str(run), "--size", "16", "--out", str(mine / "x.gif")],
        ["render", str(run), "--size", "16", "--out", str(mine / "x.png")],
        ["evaluate", str(run)],
        ["evaluate", str(run), "--out", str(mine / "x.json")],
        ["resume", str(run)],
    ):
        assert main(command) == 0, capsys.readouterr().err
    assert sorted(path.name for path in mine.iterdir()) == ["x.gif", "x.glb", "x.json", "x.png"]
    assert "note: the judgement is not kept: cannot write" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--out", str(run / "x.json")]) == 4
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize(
    ("closed", "command", "code"),
    [(">&- 2>&-", ["--help"], 0), (">&-", ["runs", "."], 0), ("2>&-", ["runs", "nowhere"], 2)],
)
def test_closed_streams_change_no_exit_code(closed: str, command: list[str], code: int, tmp_path: Path) -> None:
    script = f'exec "$@" {closed}'
    words = ["sh", "-c", script, "sh", sys.executable, "-m", "dreamfields", *command]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("command", [["generate", "--help-all"], ["runs", "."]])
def test_a_reader_that_has_gone_costs_no_word(command: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        words = [sys.executable, "-m", "dreamfields", *command]
        done = subprocess.run(
            words, stdout=writing, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path, timeout=60
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


class NoRoom(io.StringIO):
    """An output that takes nothing after some lines."""

    def write(self, text: str) -> int:
        if self.getvalue().count("\n") >= 3:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_an_output_that_takes_no_more_ends_no_run(tmp_path: Path) -> None:
    run = api.start(tiny_config(), tmp_path)
    output = NoRoom()
    assert complete(run, console_on(output)) == 0
    assert output.closed
    assert api.load(run.path).status == "finished"


def test_signals_that_were_ignored_before_and_a_reader_that_leaves_end_no_run(tmp_path: Path) -> None:
    arguments = ["generate", PROMPT, "--out", str(tmp_path), "--steps", "30", *TINY_OPTIONS]
    with started(*arguments, before="trap '' HUP INT") as process:  # As by `nohup`, and in the background of a script
        assert process.stdout is not None
        assert any(line.startswith("step ") for line in process.stdout)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGHUP):
            process.send_signal(number)
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert (process.wait(timeout=300), errors) == (0, "")
        process.stdout = None
    assert json.loads((tmp_path / "a-red-ball-0" / "run.json").read_text())["status"] == "finished"


def test_an_empty_scene_is_one_sentence_and_exit_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = ["--voxels.blob-strength", "0", "--voxels.blob-offset", "-20", "--collapse.restarts", "0"]
    assert main(["generate", PROMPT, "--out", str(tmp_path), "--steps", "1", *TINY_OPTIONS, *empty]) == 6
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_doctor_finds_all_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for part in ("dreamfields doctor", MINILM.package, "device", "video"):
        assert part in shown


def test_the_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(wanted: Any) -> Path:
        raise MissingPackageError(f"run: pip install {wanted.package}")

    monkeypatch.setattr(doctor, "package_file", missing)
    assert main(["doctor"]) == 3
    assert "NO" in capsys.readouterr().out


def test_a_keyboard_interrupt_anywhere_is_exit_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Doctor, "check", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "dreamfields: stopped\n"
