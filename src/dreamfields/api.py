"""The Python API: a prompt in, a run out; the run is a folder that can be shown, exported, judged and resumed."""

import re
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy
import torch

from dreamfields import __version__, presets
from dreamfields.config import Config
from dreamfields.devices import check_device, resolve_device, thread_count
from dreamfields.errors import DreamfieldsError, MissingPackageError, StorageError, UsageError
from dreamfields.evaluate.classifier import Judge, Judgement, nearest_class
from dreamfields.evaluate.retrieval import Candidate
from dreamfields.export.formats.html import SUFFIX as VIEWER_SUFFIX
from dreamfields.guidance.base import Guide
from dreamfields.guidance.load import check_weights, load_guides
from dreamfields.guidance.prompt_embeddings import all_sentences
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize.loop import Step, optimize
from dreamfields.optimize.objective import make_targets
from dreamfields.optimize.state import TrainingState
from dreamfields.runs.checkpointer import Checkpointer
from dreamfields.runs.directory import RunDirectory, new_run_directory
from dreamfields.runs.disk import check_space, run_bytes
from dreamfields.runs.files import MESH_SUFFIX, Outputs
from dreamfields.runs.record import FORMAT, read_record


def generate(
    prompt: str,
    *,
    preset: str = presets.DEFAULT,
    seed: int = 0,
    steps: int | None = None,
    out: str | Path = "runs",
    device: str = "auto",
    threads: int = 0,
    prompts: PromptSettings | None = None,
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
        prompts: what is asked besides the prompt, such as `PromptSettings(negative_prompt="a mug")`.

    Raises:
        DreamfieldsError: one sentence that says what to do; see `dreamfields.errors`.
    """
    chosen = presets.preset(preset)
    recipe = chosen.recipe
    if steps is not None:
        recipe = replace(recipe, optimize=replace(recipe.optimize, steps=steps))
    config = Config(
        prompt,
        seed=seed,
        device=device,  # type: ignore[arg-type]
        threads=threads,
        prompts=prompts or PromptSettings(),
        recipe=recipe,
        export=chosen.export,
    )
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
    return begin(config, new_run_directory(Path(out), config.prompt, config.seed))


def begin(config: Config, directory: RunDirectory) -> "Run":
    """Make a new run in a folder that may be locked already; see `start`. It raises what `start` raises."""
    check_device(config.device)
    check_weights(config.recipe.guidance)
    check_space(directory.path, run_bytes(config.recipe, config.export.most_bytes()))
    with directory.locked():
        # Looked at again under the lock: two may have started at once.
        directory.refuse_taken()
        run = Run(directory, config, {"status": "started"})
        run.write_record()
    return run


def load(path: str | Path) -> "Run":
    """Open a run that was started before.

    Raises:
        UsageError: there is no run in the folder.
        StorageError: its record cannot be understood.
    """
    return reopen(RunDirectory(Path(path)))


def reopen(directory: RunDirectory) -> "Run":
    """Open the run of a folder that may be locked already; see `load`."""
    record = read_record(directory)
    return Run(directory, record.config, record.values)


@final
class Run(Outputs):
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
        self._notices: list[str] = []
        self._checkpointer = Checkpointer(directory, config.identity(), self._notify)

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
        """Return what the user should know, one sentence each: of the prompt, damaged files, a full disk."""
        return [str(note) for note in self.record.get("notes", [])]

    @property
    def state(self) -> TrainingState:
        """Return the optimisation's state, read from the newest checkpoint when there is one.

        Raises:
            CheckpointError: there are checkpoints, but none is whole.
        """
        if self._state is None:
            torch.set_num_threads(thread_count(self.config.threads))
            state = TrainingState(self.config.recipe, self.config.seed, resolve_device(self.config.device))
            self._checkpointer.restore(state)
            self._state = state
        return self._state

    @property
    def trained_state(self) -> TrainingState:
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
            state, settings = self.state, self.config.recipe.optimize
            if state.step >= settings.steps:
                return
            self._checkpointer.tidy(state)
            guides = self._load_guides(state.device)
            template = self.config.recipe.guidance.template
            targets = make_targets(guides, template, self.config.prompt, self.config.prompts)
            self._set_status("running", device=str(state.device))
            began, before, whole = time.perf_counter(), float(self.record.get("seconds", 0.0)), True
            steps = optimize(state, targets, lambda: self._checkpointer.recall(state))
            try:
                while state.step < settings.steps:
                    whole = False
                    step = next(steps)
                    whole = True
                    self._checkpointer.log(step)
                    if step.rolled_back:
                        self._checkpointer.discard_path(state)
                    # What it would be nice to have is not worth a run.
                    with suppress(StorageError):
                        self._lapse().keep(state.field, state.occupancy, state.attempt)
                    yield step
                    due = state.step % settings.checkpoint_every == 0
                    if self.directory.take_checkpoint_request() or due:
                        self._checkpointer.save(state)
            finally:
                self.record = {**self.record, "seconds": round(before + time.perf_counter() - began, 2)}
                # An exception inside a step may leave half of it done; the last periodic checkpoint is then the newest.
                self._end(state, whole)

    def finish(self) -> list[Path]:
        """Write the contact sheet, the videos, the mesh and a page that shows it, and return their paths.

        Raises:
            DegenerateError: the field has no surface to take away; the pictures are written all the same.
        """
        with self.directory.locked():
            paths = [self.sheet(self.path / "contact_sheet.png"), self.turntable(self.path / "turntable.mp4")]
            taken = self._lapse().pictures()
            if len(taken) > 1:
                paths.append(self._encode(taken, self.path / "timelapse.mp4", self.config.export.video_fps))
            mesh = self.export(self.path / f"object{MESH_SUFFIX}")
            page = self.viewer(self.path / f"object{VIEWER_SUFFIX}", mesh.read_bytes())
            self._set_status("finished")
        return [*paths, mesh, page]

    def evaluate(self, classes: list[str] | None = None, judge: Judge | None = None) -> Judgement:
        """Judge held-out views with a model that never guides; see `dreamfields.evaluate.classifier`.

        Args:
            classes: ImageNet class names that count as right; None takes the one nearest to the prompt.
            judge: a judge loaded before; None loads it.
        """
        right = classes or [nearest_class(self.config.prompt)]
        return (judge or Judge(self.state.device)).judge(self.trained_state.field, right)

    def candidate(self) -> Candidate:
        """Return the object as retrieval judges it."""
        state = self.trained_state
        return Candidate(self.path.name, self.config.prompt, state.field, state.target)

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
        template = self.config.recipe.guidance.template
        sentence = max(all_sentences(template, self.config.prompt, self.config.prompts), key=len)
        unread = {guide.guidance.name: guide.guidance.unread_words(sentence) for guide in guides}
        notes = [f'{name} cannot read the whole prompt; dropped: "{" ".join(w)}"' for name, w in unread.items() if w]
        self.record = {**self.record, "guidance": names, "weights": weights, "notes": notes + self._notices}
        return guides

    def _end(self, state: TrainingState, whole: bool) -> None:
        """Save the state unless half a step is done in it, and say how the run stands.

        Raises:
            StorageError: it cannot be saved.
        """
        try:
            if whole:
                self._checkpointer.save_last(state)
        except DreamfieldsError:
            with suppress(StorageError):
                self._set_status("interrupted", attempts=state.attempt + 1)
            raise
        done = whole and state.step >= self.config.recipe.optimize.steps
        self._set_status("optimized" if done else "interrupted", attempts=state.attempt + 1)

    def _notify(self, sentence: str) -> None:
        """Add a sentence to the notes, unless it, or one that differs in its numbers alone, is there."""
        if all(_without_numbers(sentence) != _without_numbers(one) for one in self._notices):
            self._notices.append(sentence)
            self.record = {**self.record, "notes": [*self.notes, sentence]}

    def _set_status(self, status: str, **facts: Any) -> None:
        self.record = {**self.record, "status": status, **facts}
        self.write_record()


def _without_numbers(sentence: str) -> str:
    return re.sub(r"\d+", "", sentence)
