"""A run: one prompt's optimisation, and the folder with its record, its checkpoints and the files made of it."""

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, final

from PIL import Image
from torch import Tensor

from dreamfields.config import Config
from dreamfields.devices import cpu_threads, resolve_device
from dreamfields.errors import DreamfieldsError, StorageError, UsageError
from dreamfields.evaluate.classifier import Judge, Judgement, nearest_class
from dreamfields.evaluate.retrieval import Candidate
from dreamfields.export.asset import Asset
from dreamfields.export.formats.table import check_target, write_asset
from dreamfields.export.mesh.mesh import Mesh
from dreamfields.export.pictures.film import TimeLapse, film, turntable
from dreamfields.export.pictures.paths import CameraPath, Orbit
from dreamfields.export.pictures.stills import Shot, contact_sheet, picture_bytes, refuse_blank, take
from dreamfields.export.pictures.table import picture_format, video_suffix
from dreamfields.export.pictures.video import write_video
from dreamfields.export.settings import ExportSettings, Millimetres
from dreamfields.optimize.loop import Step, optimize
from dreamfields.optimize.state import TrainingState
from dreamfields.render.framing import frame
from dreamfields.render.pieces import main_pieces
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.runs import starts
from dreamfields.runs.checkpointer import Checkpointer
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.facts import export_facts, run_in_short
from dreamfields.runs.guides import recorded_targets
from dreamfields.runs.metrics import last_score, read_metrics
from dreamfields.runs.record import RunRecord, Status, read_record
from dreamfields.runs.record_file import RecordFile
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write, user_path

MESH_SUFFIX: Final = ".glb"
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def _in_own_threads(
    method: "Callable[Concatenate[Run, _Arguments], _Result]",
) -> "Callable[Concatenate[Run, _Arguments], _Result]":
    """Let a method compute with as many threads as its run has, and leave the process's number as it was."""

    @wraps(method)
    def wrapped(run: "Run", /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with cpu_threads(run.config.threads):
            return method(run, *args, **kwargs)

    return wrapped


@final
class Run:
    """One prompt's optimisation and all that belongs to it."""

    def __init__(self, directory: RunDirectory, record: RunRecord) -> None:
        """Tie a folder to its record; use `begin` or `open` instead."""
        self.directory = directory
        self._file = RecordFile(directory, record)
        self._state: TrainingState | None = None
        self._checkpointer = Checkpointer(directory, record.config.identity(), self._file.notify)

    def __repr__(self) -> str:
        """Return prompt, seed, status, steps, score and folder on one line; never raises, even if files are gone."""
        return run_in_short(self.record, self.directory)

    @classmethod
    def begin(cls, directory: RunDirectory, config: Config) -> "Run":
        """Make the folder of a new run and its first record; `check_runnable` has told that it can work.

        Raises UsageError, LockedError, StorageError: the folder holds a run, is in use, or cannot be written.
        """
        with directory.locked():
            # Only under the lock is the answer final: two may have started at once.
            directory.refuse_taken()
            run = cls(directory, RunRecord("started", config))
            run._file.write("started")
        return run

    @classmethod
    def open(cls, directory: RunDirectory) -> "Run":
        """Open a run that was started before; see `read_record` for what it raises."""
        return cls(directory, read_record(directory))

    @property
    def record(self) -> RunRecord:
        """Return what run.json says, with what is known since it was written."""
        return self._file.record

    @property
    def path(self) -> Path:
        """Return the run's folder."""
        return self.directory.path

    @property
    def config(self) -> Config:
        """Return the configuration that the run is made from."""
        return self.record.config

    @property
    def prompt(self) -> str:
        """Return the description of the object."""
        return self.config.prompt

    @property
    def seed(self) -> int:
        """Return the seed of all random draws."""
        return self.config.seed

    @property
    def score(self) -> float | None:
        """Return the mean score of the last 20 steps, as `dreamfields runs` prints it; None before any step."""
        return last_score(self.directory.metrics)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Return what metrics.jsonl says now: of each step the `index`, `attempt`, `score`, `loss` and more, as `Step`.

        Raises StorageError: the file cannot be read.
        """
        return read_metrics(self.directory.metrics)

    @property
    def status(self) -> Status:
        """Return `started`, `running`, `interrupted`, `optimized` or `finished`."""
        return self.record.status

    @property
    def notes(self) -> list[str]:
        """Return what the user should know, in sentences: of the prompt, lost settings, damaged files, the disk."""
        return list(self.record.all_notes)

    @property
    def export_notes(self) -> list[str]:
        """Return how files differ from what was asked for, one sentence each, such as a GIF in place of an MP4."""
        return list(self.record.export_notes.values())

    @_in_own_threads
    def load_state(self) -> TrainingState:
        """Return the optimisation's state; the first call reads the newest checkpoint.

        Raises CheckpointError: there are checkpoints, but none is whole.
        """
        if self._state is None:
            state = TrainingState(self.config.recipe, self.config.seed, resolve_device(self.config.device))
            self._checkpointer.restore(state)
            self._state = state
        return self._state

    def trained_state(self) -> TrainingState:
        """Return the state of a run that has something to show. Raises UsageError: not one step has been saved."""
        state = self.load_state()
        if state.step == 0 and state.attempt == 0:
            raise UsageError(f"{self.path} has nothing to show yet; make it with: {self.directory.resume_command}")
        return state

    def steps(self) -> Generator[Step]:
        """Run the steps that are left, from the newest checkpoint on, yielding each.

        Checkpoints and metrics are written on the way. Whoever stops iterating early, or is interrupted, leaves a
        checkpoint of the last whole step behind, from which the next call goes on bit for bit (on the CPU).

        Raises:
            LockedError: another process works in the folder.
            MissingPackageError: weights are not installed, or not those that the run began with.
            DegenerateError: the optimisation is not finite any more.
        """
        steps = self._steps()
        try:
            while True:
                with cpu_threads(self.config.threads):
                    step = next(steps, None)
                if step is None:
                    return
                yield step
        finally:
            with cpu_threads(self.config.threads):
                steps.close()

    @_in_own_threads
    def finish(self) -> list[Path]:
        """Write the contact sheet, the videos, the mesh and a page that shows it, and return their paths.

        Raises:
            LockedError: another process works in the folder.
            DegenerateError: the field has no surface to export; the pictures are written all the same.
        """
        with self.directory.locked():
            self._file.read_again()
            paths = [self.sheet(self.path / "contact_sheet.png"), self.turntable(self.path / "turntable.mp4")]
            frames = self._time_lapse().pictures()
            if len(frames) > 1:
                paths.append(self._write_video(frames, self.path / "timelapse.mp4", self.config.export.video_fps))
            asset = self.asset()
            paths += [self.export(self.path / f"object{suffix}", asset) for suffix in (MESH_SUFFIX, ".html")]
            self._file.write("finished")
        return paths

    @_in_own_threads
    def evaluate(self, classes: list[str] | None = None, judge: Judge | None = None) -> Judgement:
        """Judge held-out views with a model that never guides; see `dreamfields.evaluate.classifier`.

        Args:
            classes: ImageNet class names that count as right; None takes the one nearest to the prompt.
            judge: a judge loaded before; None loads it.
        """
        state = self.trained_state()
        return (judge or Judge(state.device)).judge(state.field, classes or [nearest_class(self.config.prompt)])

    @_in_own_threads
    def candidate(self) -> Candidate:
        """Return the object as retrieval judges it."""
        state = self.trained_state()
        return Candidate(self.path.name, self.config.prompt, state.field, state.target)

    @_in_own_threads
    def render(self, camera: Camera, size: int = 512, samples: int = 128) -> Rendering:
        """Render one picture of the field, `size` pixels a side."""
        return render_still(self.trained_state().field, camera, size, samples, occupancy=self._shown())

    def asset(self, settings: ExportSettings | None = None, size_mm: Millimetres = None) -> Asset:
        """Return the object ready for export, by the run's settings or others; what its files share is made once.

        Formats with a unit of length (.glb, .html, .usdz, .stl, .3mf) make its largest extent `size_mm` millimetres;
        None is each format's own default. The others are in scene units. Raises UsageError: the size is out of range.
        """
        chosen, state = settings or self.config.export, self.trained_state()
        facts, config = self.metadata(), self.config.to_json()
        return Asset(state.field, chosen, facts, occupancy=self._shown(), size_mm=size_mm, config=config)

    @_in_own_threads
    def mesh(self) -> Mesh:
        """Return the object's surface with its colours and texture, +Y up and outward faces.

        Raises DegenerateError: the field has no surface.
        """
        return self.asset().mesh

    @_in_own_threads
    def export(self, path: str | Path, asset: Asset | None = None, *, force: bool = False) -> Path:
        """Write the object in the format of the path's ending and return the path.

        An OBJ has an MTL and a PNG file beside it, which replace files of the same names only if those were written by
        an earlier export; `force` replaces others, too.

        Of a GLB in the run's folder run.json keeps a summary: its faces, its texture, and how well it fits the field.

        Raises:
            UsageError: the ending names no known format, or another file would be replaced; nothing is computed.
            MissingPackageError: the format needs a package that is not installed; nothing is computed.
            DegenerateError: the field has no surface; nothing is written.
        """
        target = user_path(path)
        check_target(target, force=force)
        made = asset or self.asset()
        write_asset(made, target, force=force)
        if target.suffix.lower() == MESH_SUFFIX:
            self._file.describe(target, made.note, made.summary)
        return target

    def viewer(self, path: str | Path) -> Path:
        """Write one page (.html) that shows the mesh in any browser, without a network, and return its path."""
        return self.export(path)

    @_in_own_threads
    def sheet(self, path: str | Path) -> Path:
        """Write the contact sheet of eight views, as PNG, JPEG or WebP by the path's ending, and return the path.

        Raises UsageError: the ending names none of these; nothing is rendered.
        """
        target = user_path(path)
        picture_format(target)
        return self._write_picture(contact_sheet(self.trained_state().field, self.config.export, self._shown()), target)

    @_in_own_threads
    def turntable(self, path: str | Path) -> Path:
        """Write the video of one turn, or a GIF where MP4 cannot be made, and return where it is; see `film`."""
        target = user_path(path)
        video_suffix(target)
        frames = turntable(self.trained_state().field, settings := self.config.export, self._shown())
        return self._write_video(frames, target, settings.video_fps)

    @_in_own_threads
    def picture(self, path: str | Path, camera: Camera, shot: Shot | None = None) -> Path:
        """Write one picture of the field and return its path; the shot sets its size and what it shows.

        The ending, .png, .jpg, .jpeg or .webp, is the format.

        Raises:
            UsageError: the ending names no known format, or a transparent picture is to be a JPEG; nothing is rendered.
            DegenerateError: there is nothing to see; nothing is written.
        """
        target, chosen = user_path(path), shot or Shot()
        picture_format(target, transparent=chosen.transparent)
        field = self.trained_state().field
        image = take(field, camera, chosen, frame(field), self._shown())
        refuse_blank([image])
        return self._write_picture(image, target)

    @_in_own_threads
    def film(self, path: str | Path, along: CameraPath | None = None, shot: Shot | None = None, fps: int = 24) -> Path:
        """Write a video along a camera's path, one turn if not given, and return where it is.

        The ending, .mp4, .webm, .gif or .webp, is the format; the returned path's ending is that which could be made.
        Outside the run's folder a file of another name than the given one replaces nothing: `spin-2.gif`.

        Raises:
            UsageError: the ending names no known format.
            DegenerateError: there is nothing to see; nothing is written.
        """
        target = user_path(path)
        video_suffix(target)
        chosen = shot or Shot(self.config.export.video_size, self.config.export.still_samples)
        frames = film(self.trained_state().field, along or Orbit(), chosen, self._shown())
        refuse_blank(frames)
        return self._write_video(frames, target, fps)

    def metadata(self) -> dict[str, str | int | float]:
        """Return the facts that every exported file carries."""
        return export_facts(self.record)

    def _shown(self) -> Tensor:
        state = self.trained_state()
        return state.occupancy if self.config.export.loose else main_pieces(state.field, state.occupancy)

    def _steps(self) -> Generator[Step]:
        """Do what `steps` says, in the threads that the caller sets each time."""
        with self.directory.locked():
            self._file.read_again()
            state, settings = self.load_state(), self.config.recipe.optimize
            if state.step >= settings.steps:
                return
            self._checkpointer.tidy(state)
            self._checkpointer.compare_machine(state)
            starts.begin(self._file, state)
            targets = recorded_targets(self._file, state.device)
            self._file.record = replace(self.record, device=str(state.device))
            self._file.write("running")
            began, before, whole = time.perf_counter(), self.record.seconds, True
            steps = optimize(state, targets, lambda: self._checkpointer.recall(state))
            try:
                while state.step < settings.steps:
                    whole = False
                    step = next(steps)
                    whole = True
                    self._checkpointer.log(step)
                    if step.rolled_back:
                        self._checkpointer.discard_path(state)
                    # A preview that cannot be written is no reason to lose a run.
                    with suppress(StorageError):
                        self._time_lapse().keep(state.field, state.occupancy, state.attempt)
                    yield step
                    due = state.step % settings.checkpoint_every == 0
                    if self.directory.take_checkpoint_request() or due:
                        self._checkpointer.save(state)
            finally:
                seconds = round(before + time.perf_counter() - began, 2)
                self._file.record = replace(self.record, seconds=seconds, attempts=state.attempt + 1)
                # An exception inside a step may leave half of it done; the last periodic checkpoint is then the newest.
                self._end(state, whole)

    def _end(self, state: TrainingState, whole: bool) -> None:
        """Save the state unless half a step is done in it, and write how the run stands.

        Raises StorageError: it cannot be saved.
        """
        try:
            if whole:
                self._checkpointer.save_last(state)
        except DreamfieldsError:
            with suppress(StorageError):
                self._file.write("interrupted")
            raise
        done = whole and state.step >= self.config.recipe.optimize.steps
        self._file.write("optimized" if done else "interrupted")

    def _time_lapse(self) -> TimeLapse:
        return TimeLapse(self.directory.previews, self.config.recipe.optimize.steps, self.config.export)

    def _write_picture(self, image: Image.Image, path: Path) -> Path:
        atomic_write(path, picture_bytes(image, picture_format(path), self.metadata()))
        return path

    def _write_video(self, frames: list[Image.Image], path: Path, fps: int) -> Path:
        target, note = write_video(frames, fps, path, self.path)
        self._file.describe(path, note)
        return target
