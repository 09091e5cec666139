"""The Python API from end to end, on weightless guidance: files, statuses, and a resume that leaves no trace."""

import json
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from torch import Tensor

import dreamfields
from dreamfields import presets
from dreamfields.api import Run, generate, load, start
from dreamfields.errors import DegenerateError, LockedError, MissingPackageError, StorageError, UsageError
from dreamfields.export.pictures import video
from dreamfields.export.pictures.paths import DollyZoom, Orbit
from dreamfields.export.pictures.stills import Shot
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.optimize import loop
from dreamfields.presets import Preset
from dreamfields.runs.checkpoint import manifests
from dreamfields.runs.directory import RunDirectory
from dreamfields.scene.cameras import Camera
from tests.support.toys import PROMPT, TINY, TINY_EXPORT, TINY_MLP, sha256_of, tiny_config, with_steps

STEPS = TINY.optimize.steps


def taken(run: Run, steps: int) -> None:
    """Take some steps of a run and leave it as who stops iterating does."""
    iterator = run.steps()
    for _ in range(steps):
        next(iterator)
    iterator.close()


def final_files(run: Run) -> dict[str, str]:
    """Return the digests of what an optimisation leaves behind."""
    newest = manifests(run.directory.checkpoints)[0]
    return {path.name: sha256_of(path) for path in (newest, newest.with_suffix(".safetensors"), run.directory.metrics)}


def recorded(run: Run) -> Any:
    return json.loads((run.path / "run.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with all its files that was never stopped; tests only read it."""
    run = start(tiny_config(), tmp_path_factory.mktemp("runs"))
    for _ in run.steps():
        pass
    run.finish()
    return run


def test_a_finished_run_has_all_its_files_and_they_open(finished: Run) -> None:
    names = {path.name for path in finished.path.iterdir() if not path.name.startswith(".")}
    assert names >= {"run.json", "metrics.jsonl", "checkpoints", "contact_sheet.png", "object.glb"}
    assert names & {"turntable.mp4", "turntable.gif"}
    with Image.open(finished.path / "contact_sheet.png") as sheet:
        assert np.asarray(sheet).std() > 5.0  # Not blank.
    scene = trimesh.load(finished.path / "object.glb")
    assert isinstance(scene, trimesh.Scene)
    mesh = scene.to_mesh()
    assert len(mesh.faces) > 50
    assert mesh.volume > 0.0
    (video,) = finished.path.glob("turntable.*")
    assert video.stat().st_size > 500


def test_the_record_says_what_the_run_is(finished: Run) -> None:
    record = recorded(finished)
    assert record["status"] == finished.status == "finished"
    assert record["config"] == json.loads(json.dumps(tiny_config().to_json()))
    assert record["guidance"] == ["toy"]
    assert record["device"] == "cpu"
    assert record["attempts"] == 1
    assert record["seconds"] > 0.0
    assert record["cpu_threads"] == 1
    assert set(record["versions"]) == {"dreamfields", "torch", "numpy"}


def test_metrics_have_each_step_once(finished: Run) -> None:
    lines = [json.loads(line) for line in finished.directory.metrics.read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(1, STEPS + 1))
    assert all(line["collapsed"] is None and line["total"] == STEPS for line in lines)


def test_a_finished_run_can_be_loaded_shown_and_exported_again(finished: Run, tmp_path: Path) -> None:
    run = load(finished.path)
    assert run.config == finished.config
    assert run.load_state().step == STEPS
    assert run.export(tmp_path / "again.glb").read_bytes() == (finished.path / "object.glb").read_bytes()
    for suffix in (".ply", ".stl"):
        mesh = trimesh.load_mesh(run.export(tmp_path / f"object{suffix}"))
        assert len(mesh.faces) == recorded(run)["mesh"]["faces"]
    rendering = run.render(Camera(0.0, 20.0), size=20, samples=8)
    assert rendering.colour.shape == (1, 3, 20, 20)
    assert 0.0 < float(rendering.opacity.mean()) < 1.0
    with pytest.raises(UsageError, match=r"mesh format called '\.glp'; did you mean '\.glb'"):
        run.export(tmp_path / "object.glp")
    assert not (tmp_path / "object.glp").exists()


def test_a_file_that_cannot_be_written_is_refused_before_the_run_is_even_read(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "load_state", None)
    monkeypatch.setitem(sys.modules, "pxr", None)
    run, camera = load(finished.path), Camera(0.0, 20.0)
    (tmp_path / "cup.png").write_bytes(b"mine")
    for name in ("object.fbx", "object", "cup.obj"):
        with pytest.raises(UsageError):
            run.export(tmp_path / name)
    with pytest.raises(MissingPackageError, match="usd-core"):
        run.export(tmp_path / "object.usdz")
    for name in ("side.gif", "side"):
        with pytest.raises(UsageError, match="picture format"):
            run.picture(tmp_path / name, camera)
        with pytest.raises(UsageError, match="picture format"):
            run.sheet(tmp_path / name)
    with pytest.raises(UsageError, match="cannot leave the background out"):
        run.picture(tmp_path / "side.jpg", camera, Shot(transparent=True))
    for make in (run.film, run.turntable):
        with pytest.raises(UsageError, match="video format"):
            make(tmp_path / "film.avi")
    assert [path.name for path in tmp_path.iterdir()] == ["cup.png"]


@pytest.mark.parametrize(("suffix", "codec"), [(".png", "PNG"), (".JPG", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")])
def test_pictures_and_sheets_are_in_the_format_of_their_ending(
    finished: Run, tmp_path: Path, suffix: str, codec: str
) -> None:
    side = finished.picture(tmp_path / f"side{suffix}", Camera(0.0, 20.0), Shot(16, 8))
    sheet = finished.sheet(tmp_path / f"sheet{suffix}")
    for path in (side, sheet):
        with Image.open(path) as picture:
            assert picture.format == codec
        assert PROMPT.encode() in path.read_bytes()


def test_a_glb_of_any_case_in_the_run_s_folder_is_described(finished: Run, tmp_path: Path) -> None:
    run = load(shutil.copytree(finished.path, tmp_path / "run"))
    run.export(run.path / "Small.GLB", run.asset(replace(TINY_EXPORT, max_faces=120)))
    assert recorded(run)["mesh"]["faces"] <= 120


def test_the_record_says_how_well_the_mesh_fits(finished: Run) -> None:
    mesh = recorded(finished)["mesh"]
    assert mesh["views"] == 8
    assert 0.1 < mesh["lowest_iou"] <= mesh["silhouette_iou"] <= 1.0
    assert 0.0 < mesh["colour_psnr"] < 100.0  # A tiny run's level is given, and fits little.
    assert mesh["texture"] in ("charts", "triangles")
    assert (mesh["texture_size"], mesh["note"]) == (128, "" if mesh["texture"] == "charts" else mesh["note"])


def test_other_settings_make_another_mesh_and_leave_the_run_s_alone(finished: Run, tmp_path: Path) -> None:
    small = finished.asset(replace(TINY_EXPORT, max_faces=120, texture_size=0), size_mm=30.0)
    mesh = trimesh.load_mesh(finished.export(tmp_path / "small.stl", small))
    assert len(mesh.faces) <= 120
    assert max(mesh.extents) == pytest.approx(30.0, rel=1e-5)
    assert finished.config.export == TINY_EXPORT


def test_a_time_lapse_grows_with_the_run(finished: Run) -> None:
    steps = [int(path.stem[-8:]) for path in sorted((finished.path / "previews").glob("*.png"))]
    assert steps == [4, 8, 12]
    assert (finished.path / "timelapse.mp4").stat().st_size > 500


def test_a_full_disk_for_previews_costs_the_previews_and_not_the_run(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise StorageError("no space")

    monkeypatch.setattr("dreamfields.export.pictures.film.atomic_write", refused)
    run = start(tiny_config(), tmp_path)
    for _ in run.steps():
        pass
    assert final_files(run) == final_files(finished)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
def test_a_run_can_be_filmed_in_every_format(finished: Run, tmp_path: Path, suffix: str) -> None:
    path = finished.film(tmp_path / f"film{suffix}", DollyZoom(frames=2), Shot(15, 8, "normal"))
    assert path == tmp_path / f"film{suffix}"
    assert path.stat().st_size > 100


def test_a_film_of_no_known_format_is_refused_before_it_is_made(finished: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"video format called '\.mpv'"):
        finished.film(tmp_path / "film.mpv", Orbit(frames=3600), Shot(4096, 4096))
    assert not list(tmp_path.iterdir())


def test_a_video_that_is_not_what_was_asked_for_is_said_until_it_is(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = load(shutil.copytree(finished.path, tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(video, "encoders", list)
        assert run.film(run.path / "film.webm", Orbit(frames=2), Shot(15, 8)).suffix == ".webp"
    (note,) = load(run.path).export_notes
    assert note.startswith("the video is a WebP, not a WebM: no ffmpeg was found")
    run.film(run.path / "film.webm", Orbit(frames=2), Shot(15, 8))
    assert load(run.path).export_notes == []


def test_a_run_opened_before_another_process_finished_it_does_not_put_its_record_back(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "encoders", list)  # So that every video has a note.
    other = load(shutil.copytree(finished.path, tmp_path / "run"))
    path = other.path / "run.json"
    late = recorded(other) | {"seconds": 99.0, "versions": {"torch": "9.9"}, "cpu_threads": 7, "later": ["kept"]}
    path.write_text(json.dumps(late | {"status": "interrupted"}))
    stale = load(other.path)
    path.write_text(json.dumps(late))
    stale.export(other.path / "again.glb")
    stale.film(other.path / "film.mp4", Orbit(frames=2), Shot(15, 8))
    now = recorded(other)
    assert now.pop("export_notes")["film.mp4"].startswith("the video is a GIF")
    assert now.pop("mesh")["faces"] == late["mesh"]["faces"]
    assert now == {name: value for name, value in late.items() if name not in ("export_notes", "mesh")}
    stale.finish()
    assert recorded(other)["status"] == "finished"
    assert (recorded(other)["seconds"], recorded(other)["later"]) == (99.0, ["kept"])


def test_files_beside_a_run_leave_its_folder_as_it_is(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "encoders", list)
    run, folder = load(finished.path), {path: path.stat().st_mtime_ns for path in finished.path.iterdir()}
    monkeypatch.setattr(RunDirectory, "write_record", None)  # As in a folder that must not be written to.
    monkeypatch.setattr(RunDirectory, "locked", None)
    run.export(tmp_path / "other.glb", run.asset(replace(TINY_EXPORT, max_faces=120)))
    run.film(tmp_path / "film.mp4", Orbit(frames=2), Shot(15, 8))
    run.picture(tmp_path / "picture.png", Camera(0.0, 20.0), Shot(16, 8))
    assert any("is a GIF" in note for note in run.export_notes)
    assert {path: path.stat().st_mtime_ns for path in finished.path.iterdir()} == folder


@pytest.mark.parametrize("error", [StorageError("read-only"), LockedError("in use")])
def test_a_note_that_cannot_be_written_costs_the_note_alone(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(_: RunDirectory) -> None:
        raise error

    run = load(shutil.copytree(finished.path, tmp_path / "run"))
    before = recorded(run)
    monkeypatch.setattr(RunDirectory, "locked", refused)
    assert run.export(run.path / "again.glb").is_file()
    assert recorded(run) == before


def test_the_facts_travel_with_the_files(finished: Run) -> None:
    facts = finished.metadata()
    assert (facts["prompt"], facts["seed"], facts["guidance"], facts["steps"]) == (PROMPT, 0, "toy", STEPS)
    assert facts["generator"] == f"dreamfields {dreamfields.__version__}"
    assert PROMPT.encode() in (finished.path / "object.glb").read_bytes()
    with Image.open(finished.path / "contact_sheet.png") as sheet:
        assert PROMPT in str(sheet.info)


@pytest.mark.parametrize("stops", [[5], [1, 3, 9], [STEPS - 1], [4, 4]])
def test_a_run_stopped_early_and_resumed_leaves_the_same_bytes(finished: Run, tmp_path: Path, stops: list[int]) -> None:
    run = start(tiny_config(), tmp_path)
    done = 0
    for stop in stops:
        taken(run, stop - done)
        assert (run.status, recorded(run)["status"]) == ("interrupted", "interrupted")
        run, done = load(run.path), stop
        assert run.load_state().step == stop
    for _ in run.steps():
        pass
    assert run.status == "optimized"
    assert final_files(run) == final_files(finished)


def test_a_network_is_shaped_resumed_shown_and_taken_away_like_voxels(tmp_path: Path) -> None:
    recipe = with_steps(40, TINY_MLP)
    # Twelve pixels a side shape no more than a haze, whose surface lies where it is densest.
    config = replace(tiny_config(recipe), export=replace(TINY_EXPORT, level=None))
    whole, stopped = start(config, tmp_path / "whole"), start(config, tmp_path / "stopped")
    scores = [step.score for step in whole.steps()]
    assert sum(scores[-5:]) > sum(scores[:5]) + 0.25
    taken(stopped, 7)
    again = load(stopped.path)
    for _ in again.steps():
        pass
    assert final_files(again) == final_files(whole)
    again.finish()
    assert {path.suffix for path in again.path.iterdir()} >= {".glb", ".png"}
    assert len(again.mesh().faces) > 50
    assert again.render(Camera(30.0, 20.0), 16, 8).opacity.max() > 0.1


def test_the_same_run_may_be_gone_on_with_without_loading_it_again(finished: Run, tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    taken(run, 3)
    for _ in run.steps():
        pass
    assert final_files(run) == final_files(finished)


@pytest.mark.parametrize("lost_at", [0, 3, 7])
def test_an_interruption_within_a_step_costs_the_steps_since_the_last_checkpoint_and_nothing_else(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_at: int
) -> None:
    real = loop.take_step

    def interrupted(state: Any, targets: Any) -> loop.Step:
        if state.step == lost_at:
            state.step += 1  # Half of a step is done.
            raise KeyboardInterrupt
        return real(state, targets)

    run = start(tiny_config(), tmp_path)
    monkeypatch.setattr(loop, "take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        for _ in run.steps():
            pass
    monkeypatch.undo()
    assert recorded(run)["status"] == "interrupted"
    again = load(run.path)
    assert again.load_state().step == lost_at - lost_at % TINY.optimize.checkpoint_every
    for _ in again.steps():
        pass
    assert final_files(again) == final_files(finished)


def test_statuses_follow_the_run(tmp_path: Path) -> None:
    run = start(tiny_config(with_steps(2)), tmp_path)
    assert recorded(run)["status"] == "started"
    statuses = [recorded(run)["status"] for _ in run.steps()]
    assert statuses == ["running", "running"]
    assert recorded(run)["status"] == "optimized"
    run.finish()
    assert recorded(run)["status"] == "finished"
    assert not list(run.steps())
    assert recorded(run)["status"] == "finished"


def test_checkpoints_are_written_on_their_steps(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    seen = [[path.stem[-2:] for path in manifests(run.directory.checkpoints)] for _ in run.steps()]
    assert seen == [[]] * 5 + [["05"]] * 5 + [["10", "05"]] * 2
    assert [path.stem[-2:] for path in manifests(run.directory.checkpoints)] == ["12", "10"]


def test_a_collapse_is_kept_in_the_metrics_and_survives_a_stop(tmp_path: Path) -> None:
    recipe = replace(
        with_steps(4), collapse=replace(TINY.collapse, restarts=1, look_from=0.0, full_above=0.0, warm_up=1)
    )
    whole, stopped = start(tiny_config(recipe), tmp_path / "1"), start(tiny_config(recipe), tmp_path / "2")
    for _ in whole.steps():
        pass
    lines = [json.loads(line) for line in whole.directory.metrics.read_text().splitlines()]
    assert [(line["attempt"], line["index"], line["collapsed"]) for line in lines] == [
        (0, 1, None),
        (0, 2, "full"),
        *((1, index, None) for index in range(1, 5)),
    ]
    assert recorded(whole)["attempts"] == 2
    taken(stopped, 2)  # At the collapse itself.
    again = load(stopped.path)
    assert (again.load_state().attempt, again.load_state().step) == (1, 0)
    for _ in again.steps():
        pass
    assert final_files(again) == final_files(whole)


def test_a_second_run_of_the_same_name_is_refused(finished: Run) -> None:
    before = recorded(finished)
    with pytest.raises(UsageError, match=f"already holds a run .*: dreamfields resume {finished.path}"):
        start(tiny_config(), finished.path.parent)
    assert recorded(finished) == before


def test_two_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    steps = run.steps()
    next(steps)
    metrics = run.directory.metrics.read_bytes()
    with pytest.raises(LockedError, match="in use by process"):
        next(load(run.path).steps())
    assert run.directory.metrics.read_bytes() == metrics
    steps.close()
    next(load(run.path).steps())


def test_a_run_without_a_step_has_nothing_to_show(tmp_path: Path) -> None:
    run = start(tiny_config(), tmp_path)
    shows: list[Callable[[], object]] = [
        run.mesh,
        run.finish,
        lambda: run.render(Camera(0.0, 0.0), 8),
        lambda: run.turntable(tmp_path / "turntable.mp4"),
        lambda: run.evaluate(["teapot"]),
    ]
    for show in shows:
        with pytest.raises(UsageError, match="nothing to show yet; make it with: dreamfields resume"):
            show()
    assert not list(tmp_path.glob("turntable*"))


def broken(change: Callable[[Any], Any]) -> str:
    record = {"format": 1, "status": "started", "config": tiny_config().to_json()}
    return json.dumps(change(record))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        broken(lambda record: {}),
        broken(lambda record: record | {"format": 99}),
        broken(lambda record: {name: value for name, value in record.items() if name != "status"}),
        broken(lambda record: record | {"status": None}),
        broken(lambda record: record | {"config": []}),
        broken(lambda record: record | {"config": {}}),
        broken(lambda record: record | {"config": record["config"] | {"prompt": ""}}),
        broken(lambda record: record | {"config": record["config"] | {"prompt": 3}}),
        broken(lambda record: record | {"config": record["config"] | {"seed": -1}}),
        broken(lambda record: record | {"config": record["config"] | {"sede": 1}}),
        broken(lambda record: record | {"config": record["config"] | {"recipe": {"voxels": {"levels": 99}}}}),
        broken(lambda record: record | {"config": record["config"] | {"recipe": [1]}}),
    ],
)
def test_a_broken_record_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(StorageError, match=str(tmp_path)):
        load(tmp_path)


def test_the_record_above_is_fine_unbroken(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(broken(lambda record: record))
    assert load(tmp_path).config == tiny_config()


def test_checkpoints_of_other_settings_are_refused(finished: Run, tmp_path: Path) -> None:
    recipe = replace(TINY, voxels=replace(TINY.voxels, levels=1))
    run = start(tiny_config(recipe), tmp_path)
    run.directory.checkpoints.symlink_to(finished.directory.checkpoints)
    with pytest.raises(StorageError, match=r"of another run: voxels\.levels is 2 there and 1 here"):
        load(run.path).load_state()


def test_an_empty_scene_runs_shows_and_says_that_there_is_no_surface(tmp_path: Path) -> None:
    recipe = replace(with_steps(2), voxels=replace(TINY.voxels, blob_strength=0.0, blob_offset=-20.0))
    run = start(tiny_config(recipe), tmp_path)
    for step in run.steps():
        assert step.opacity == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(DegenerateError):
        run.finish()
    assert (run.path / "contact_sheet.png").exists()
    assert list(run.path.glob("turntable.*"))
    assert not (run.path / "object.glb").exists()
    assert run.status == "optimized"
    with pytest.raises(DegenerateError, match="nothing to see"):
        run.picture(tmp_path / "picture.png", Camera(0.0, 20.0), Shot(16, 8))
    with pytest.raises(DegenerateError, match="nothing to see"):
        run.film(tmp_path / "film.mp4", Orbit(frames=2), Shot(16, 8))
    assert not list(tmp_path.glob("*.png"))
    assert not list(tmp_path.glob("*.mp4"))


def test_generate_does_it_all_without_any_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(presets, "PRESETS", {"tiny": Preset("for tests", TINY, TINY_EXPORT)})
    run = generate(PROMPT, preset="tiny", seed=7, steps=3, out=tmp_path, device="cpu", threads=1)
    assert run.status == "finished"
    assert run.path == tmp_path / "a-red-ball-7"
    assert (run.config.seed, run.config.recipe) == (7, with_steps(3))
    assert load(run.path).load_state().step == 3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"preset": "qick"}, "preset called 'qick'; did you mean 'quick'"),
        ({"seed": -1}, "seed is -1"),
        ({"steps": 0}, "steps is 0"),
        ({"device": "warp"}, "device is 'warp'"),
        ({"threads": -2}, "threads is -2"),
    ],
)
def test_generate_refuses_in_the_words_of_the_command_line(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    arguments: dict[str, Any] = {"prompt": PROMPT, "out": tmp_path} | wrong
    with pytest.raises(UsageError, match=said):
        generate(**arguments)
    assert not list(tmp_path.iterdir())


def test_missing_weights_are_said_before_a_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise MissingPackageError("run: pip install x")

    monkeypatch.setattr("dreamfields.guidance.ensemble.check_weights", missing)
    with pytest.raises(MissingPackageError):
        start(tiny_config(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_s_threads_are_its_own(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[int] = []

    def watched(self: ToyGuidance, images: Tensor) -> Tensor:
        inside.append(torch.get_num_threads())
        return encode(self, images)

    encode = ToyGuidance.encode_image
    monkeypatch.setattr(ToyGuidance, "encode_image", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        run = start(replace(tiny_config(), threads=2), tmp_path)
        for _ in run.steps():
            assert torch.get_num_threads() == 3
        run.finish()
        run.picture(tmp_path / "x.png", Camera(0.0, 0.0), Shot(16, 8))
        assert set(inside) == {2}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
