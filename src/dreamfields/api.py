"""The Python API: a prompt in, a run out; the run is a folder that can be shown, exported, judged and resumed."""

import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy
import torch
from PIL import Image

from dreamfields import __version__, presets
from dreamfields.config import Config
from dreamfields.devices import check_device, resolve_device, thread_count
from dreamfields.errors import MissingPackageError, StorageError, UsageError
from dreamfields.evaluate.judge import Judge, Judgement, nearest_class
from dreamfields.export.film import TimeLapse, film, turntable
from dreamfields.export.formats import write_model
from dreamfields.export.mesh import Mesh
from dreamfields.export.model import PRINT_MM, Model
from dreamfields.export.passes import Shot, refuse_blank, take
from dreamfields.export.paths import CameraPath, Orbit
from dreamfields.export.pictures import contact_sheet, png_bytes
from dreamfields.export.settings import ExportSettings
from dreamfields.export.video import video_suffix, write_video
from dreamfields.guidance.base import Guide
from dreamfields.guidance.load import load_guides
from dreamfields.guidance.prompts import fill_template
from dreamfields.guidance.spec import label
from dreamfields.guidance.weights import check_weights
from dreamfields.optimize.checkpoint import load_newest, save_checkpoint
from dreamfields.optimize.loop import Step, optimize
from dreamfields.optimize.objective import make_targets
from dreamfields.optimize.run_directory import RunDirectory, new_run_directory
from dreamfields.optimize.state import TrainingState
from dreamfields.render.framing import frame
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write

FORMAT = 1
"""Format of run.json."""
MESH_SUFFIX = ".glb"


def generate(
    prompt: str,
    *,
    preset: str = presets.DEFAULT,
    seed: int = 0,
    steps: int | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    threads: int = 0,
) -> "Run":
    """Make an object of a prompt, with all its files, and return its run.

    Example:
        >>> run = dreamfields.generate("a teapot", preset="draft", seed=0)  # doctest: +SKIP
        >>> run.path  # doctest: +SKIP
        PosixPath('runs/a-teapot-0')

    Args:
        prompt: what to make.
        preset: `draft`, `quick` or `standard`.
        seed: same seed, same machine, same object.
        steps: steps of the optimiser; None takes the preset's.
        out: folder for the run's folder.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: CPU threads; 0 takes all cores.

    Raises:
        DreamfieldsError: one sentence that says what to do; see `dreamfields.errors`.
    """
    chosen = presets.preset(preset)
    recipe = chosen.recipe
    if steps is not None:
        recipe = replace(recipe, optimize=replace(recipe.optimize, steps=steps))
    config = Config(prompt, seed=seed, device=device, threads=threads, recipe=recipe, export=chosen.export)  # type: ignore[arg-type]
    run = start(config, out)
    for _ in run.steps():
        pass
    run.finish()
    return run


def start(config: Config, out: str | Path = "runs") -> "Run":
    """Make the folder of a new run, ready for `Run.steps`.

    Raises:
        UsageError: there is a run of this prompt and seed already, or the device is not there.
        MissingPackageError: weights are not installed.
        StorageError: the folder cannot be made.
    """
    check_device(config.device)
    check_weights(config.recipe.guidance)
    directory = new_run_directory(Path(out), config.prompt, config.seed)
    run = Run(directory, config, {"status": "started"})
    run.write_record()
    return run


def load(path: str | Path) -> "Run":
    """Open a run that was started before.

    Raises:
        UsageError: there is no run in the folder.
        StorageError: its record cannot be understood.
    """
    directory = RunDirectory(Path(path))
    record = directory.read_record()
    try:
        if record["format"] != FORMAT or not isinstance(record["status"], str):
            raise TypeError(f"format {record['format']}, status {record['status']}")
        config = Config.from_json(record["config"])
    except (AttributeError, KeyError, TypeError, UsageError) as error:
        raise StorageError(
            f"{directory.path} was made by another version, or its run.json was changed: {error}"
        ) from error
    return Run(directory, config, record)


@final
class Run:
    """One prompt's optimisation and all that belongs to it.

    Attributes:
        config: what it is made from.
        path: its folder.
    """

    def __init__(self, directory: RunDirectory, config: Config, record: dict[str, Any]) -> None:
        """Tie a folder to its configuration; use `start` or `load` instead."""
        self.directory = directory
        self.config = config
        self.record = record
        self._state: TrainingState | None = None

    @property
    def path(self) -> Path:
        """Return the run's folder."""
        return self.directory.path

    @property
    def status(self) -> str:
        """Return `started`, `running`, `interrupted`, `optimized` or `finished`."""
        return str(self.record["status"])

    @property
    def notes(self) -> list[str]:
        """Return what the guidance says of the prompt, one sentence each; known once the first step is done."""
        return [str(note) for note in self.record.get("notes", [])]

    @property
    def export_notes(self) -> list[str]:
        """Return what files are not as they were asked for, one sentence each, such as a GIF in place of an MP4."""
        return [str(note) for note in self.record.get("export_notes", {}).values()]

    @property
    def state(self) -> TrainingState:
        """Return the optimisation's state, read from the newest checkpoint when there is one.

        Raises:
            CheckpointError: there are checkpoints, but none is whole.
        """
        if self._state is None:
            torch.set_num_threads(thread_count(self.config.threads))
            state = TrainingState(self.config.recipe, self.config.seed, resolve_device(self.config.device))
            if any(self.directory.checkpoints.glob("*.json")):
                saved = load_newest(self.directory.checkpoints)
                state.restore(saved.tensors, saved.counters)
            self._state = state
        return self._state

    @property
    def shaped(self) -> TrainingState:
        """Return the state of a run that has something to show.

        Raises:
            UsageError: not one step has been saved.
        """
        if self.state.step == 0 and self.state.attempt == 0:
            raise UsageError(f"{self.path} has nothing to show yet; make it with: dreamfields resume {self.path}")
        return self.state

    def steps(self) -> Generator[Step]:
        """Run the steps that are left, from the newest checkpoint on, yielding each.

        Checkpoints and metrics are written on the way. Whoever stops iterating early, or is interrupted, leaves a
        checkpoint of the last whole step behind, from which the next call goes on bit for bit (on the CPU).

        Raises:
            LockedError: another process works in the folder.
            MissingPackageError: weights are not installed, or not those that the run began with.
            DegenerateError: the optimisation is not finite any more.
        """
        with self.directory.locked():
            state = self.state
            if state.step >= self.config.recipe.optimize.steps:
                return
            self.directory.trim_metrics(state.attempt, state.step)
            guides = self._load_guides(state.device)
            targets = make_targets(guides, self.config.recipe.guidance.template, self.config.prompt)
            self._set_status("running", device=str(state.device))
            began, whole = time.perf_counter(), True
            steps = optimize(state, targets)
            try:
                while state.step < self.config.recipe.optimize.steps:
                    whole = False
                    step = next(steps)
                    whole = True
                    self.directory.log(step)
                    # What it would be nice to have is not worth a run.
                    with suppress(StorageError):
                        self._lapse().keep(state.field, state.occupancy, state.attempt)
                    yield step
                    if state.step % self.config.recipe.optimize.checkpoint_every == 0:
                        save_checkpoint(self.directory.checkpoints, state)
            finally:
                # An exception inside a step may leave half of it done; the last periodic checkpoint is then the newest.
                if whole:
                    save_checkpoint(self.directory.checkpoints, state)
                seconds = float(self.record.get("seconds", 0.0)) + time.perf_counter() - began
                done = state.step >= self.config.recipe.optimize.steps
                self._set_status(
                    "optimized" if done else "interrupted", seconds=round(seconds, 2), attempts=state.attempt + 1
                )

    def finish(self) -> list[Path]:
        """Write the contact sheet, the videos and the mesh, and return their paths.

        Raises:
            DegenerateError: the field has no surface to take away; the pictures are written all the same.
        """
        paths = [self.sheet(self.path / "contact_sheet.png"), self.turntable(self.path / "turntable.mp4")]
        taken = self._lapse().pictures()
        if len(taken) > 1:
            paths.append(self._encode(taken, self.path / "timelapse.mp4", self.config.export.video_fps))
        paths.append(self.export(self.path / f"object{MESH_SUFFIX}"))
        self._set_status("finished")
        return paths

    def render(self, camera: Camera, size: int = 512, samples: int = 128) -> Rendering:
        """Render one picture of the field, of any size."""
        return render_still(self.shaped.field, camera, size, samples, occupancy=self.state.occupancy)

    def model(self, settings: ExportSettings | None = None, size_mm: float = PRINT_MM) -> Model:
        """Return the object ready to be taken away, by the run's settings or others; what its files share is made once.

        Formats that have a size make its largest extent `size_mm` millimetres.
        """
        chosen, state = settings or self.config.export, self.shaped
        return Model(state.field, chosen, self.metadata(), occupancy=state.occupancy, size_mm=size_mm)

    def mesh(self) -> Mesh:
        """Return the object's surface with its colours and texture, +Y up and outward faces.

        Raises:
            DegenerateError: the field has no surface.
        """
        return self.model().mesh

    def export(self, path: str | Path, model: Model | None = None) -> Path:
        """Write the object in the format of the path's ending and return the path; None makes the model as set.

        A GLB's facts are kept in run.json: its faces, its texture, and how well it fits the field.

        Raises:
            UsageError: the ending names no known format.
            MissingPackageError: the format needs a package that is not installed.
            DegenerateError: the field has no surface; nothing is written.
        """
        target, made = Path(path), model or self.model()
        write_model(made, target)
        if target.suffix == MESH_SUFFIX:
            self._set_status(self.status, mesh=made.summary())
            self._note(target.name, made.note)
        return target

    def sheet(self, path: str | Path) -> Path:
        """Write the contact sheet of eight views as PNG and return the path."""
        image = contact_sheet(self.shaped.field, self.config.export, self.state.occupancy)
        atomic_write(Path(path), png_bytes(image, self.metadata()))
        return Path(path)

    def turntable(self, path: str | Path) -> Path:
        """Write the video of one turn, or a GIF where MP4 cannot be made, and return where it is."""
        frames = turntable(self.shaped.field, self.config.export, self.state.occupancy)
        return self._encode(frames, Path(path), self.config.export.video_fps)

    def picture(self, path: str | Path, camera: Camera, shot: Shot | None = None) -> Path:
        """Write one picture of the field as PNG and return its path; the shot says its size and what it shows.

        Raises:
            DegenerateError: there is nothing to see; nothing is written.
        """
        chosen, field = shot or Shot(), self.shaped.field
        image = take(field, camera, chosen, frame(field), self.state.occupancy)
        refuse_blank([image])
        atomic_write(Path(path), png_bytes(image, self.metadata()))
        return Path(path)

    def film(self, path: str | Path, along: CameraPath | None = None, shot: Shot | None = None, fps: int = 24) -> Path:
        """Write a video along a camera's path, one turn if not given, and return where it is.

        The ending, .mp4, .webm, .gif or .webp, is the format; the ending of what is returned says what could be made.

        Raises:
            UsageError: the ending names no known format.
            DegenerateError: there is nothing to see; nothing is written.
        """
        video_suffix(Path(path))
        chosen = shot or Shot(self.config.export.video_size, self.config.export.still_samples)
        frames = film(self.shaped.field, along or Orbit(), chosen, self.state.occupancy)
        refuse_blank(frames)
        return self._encode(frames, Path(path), fps)

    def evaluate(self, classes: list[str] | None = None, judge: Judge | None = None) -> Judgement:
        """Judge held-out views with a model that never guides; see `dreamfields.evaluate.judge`.

        Args:
            classes: ImageNet class names that count as right; None takes the one nearest to the prompt.
            judge: a judge loaded before; None loads it.
        """
        right = classes or [nearest_class(self.config.prompt)]
        return (judge or Judge(self.state.device)).judge(self.shaped.field, right)

    def metadata(self) -> dict[str, str | int | float]:
        """Return the facts that travel inside every exported file."""
        return {
            "prompt": self.config.prompt,
            "seed": self.config.seed,
            "guidance": label(self.config.recipe.guidance.name),
            "steps": self.config.recipe.optimize.steps,
            "generator": f"dreamfields {__version__}",
        }

    def write_record(self) -> None:
        """Write run.json: status, configuration and versions."""
        self.record = {
            "format": FORMAT,
            **self.record,
            "config": self.config.to_json(),
            "versions": {"dreamfields": __version__, "torch": torch.__version__, "numpy": numpy.__version__},
            "cpu_threads": thread_count(self.config.threads),
        }
        self.directory.write_record(self.record)

    def _load_guides(self, device: torch.device) -> list[Guide]:
        """Load who guides, and record their names, what tells their weights from others, and what they cannot read."""
        guides = load_guides(self.config.recipe.guidance, device)
        names = [guide.guidance.name for guide in guides]
        weights = [guide.guidance.identity for guide in guides]
        for name, now, before in zip(names, weights, self.record.get("weights", weights), strict=False):
            if now != before:
                raise MissingPackageError(
                    f"the files of {name} are not those that {self.path} began with; put those back, or start a new run"
                )
        sentence = fill_template(self.config.recipe.guidance.template, self.config.prompt)
        unread = {guide.guidance.name: guide.guidance.unread_words(sentence) for guide in guides}
        notes = [f'{name} cannot read the whole prompt; dropped: "{" ".join(w)}"' for name, w in unread.items() if w]
        self.record = {**self.record, "guidance": names, "weights": weights, "notes": notes}
        return guides

    def _lapse(self) -> TimeLapse:
        return TimeLapse(self.path / "previews", self.config.recipe.optimize.steps, self.config.export)

    def _encode(self, frames: list[Image.Image], path: Path, fps: int) -> Path:
        target, note = write_video(frames, fps, path)
        self._note(path.name, note)
        return target

    def _note(self, name: str, sentence: str) -> None:
        """Keep in run.json what a file is not as it was asked for, or that it is by now."""
        others = {key: value for key, value in self.record.get("export_notes", {}).items() if key != name}
        self._set_status(self.status, export_notes=others | ({name: sentence} if sentence else {}))

    def _set_status(self, status: str, **facts: Any) -> None:
        self.record = {**self.record, "status": status, **facts}
        self.write_record()
