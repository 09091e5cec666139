"""Saving and restoring a running optimisation, also on a disk that refuses.

A line of metrics or a periodic checkpoint that cannot be written is no reason to lose a run: it goes on, says so, and
tries again the next time. Only the last checkpoint must be written.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

from dreamfields.errors import CheckpointError, DegenerateError, StorageError
from dreamfields.optimize.loop import ROLLBACKS, Step
from dreamfields.optimize.state import TrainingState
from dreamfields.runs.checkpoint import (
    Checkpoint,
    discard_newer,
    load_newest,
    machine_facts,
    manifests,
    save_checkpoint,
    set_aside,
    sweep_orphans,
)
from dreamfields.runs.directory import RunDirectory


@final
class Checkpointer:
    """Keeps one run's state and metrics in its folder."""

    def __init__(self, directory: RunDirectory, identity: Mapping[str, Any], notify: Callable[[str], None]) -> None:
        """Tie a folder to its `Config.identity` and to what takes each sentence for the user; nothing is read yet."""
        self.directory = directory
        self.identity = identity
        self.notify = notify
        self._damaged: tuple[Path, ...] = ()
        self._saved_on: Mapping[str, Any] = {}

    def restore(self, state: TrainingState) -> None:
        """Bring a fresh state to the newest whole checkpoint, if there is any.

        Raises CheckpointError: there are checkpoints, but none is whole, or they are of another run.
        """
        folder = self.directory.checkpoints
        if not manifests(folder):
            if self.directory.metrics.exists():
                self.notify(f"{self.directory.path} has no checkpoint, so it starts from its first step")
            return

        def take_over(saved: Checkpoint) -> None:
            state.restore(saved.tensors, saved.counters)

        saved = load_newest(folder, self.identity, state.most_bytes(), take_over)
        self._damaged = tuple(saved.passed_over)
        for fault in saved.passed_over.values():
            self.notify(f"{fault}; the one before it, of step {state.step}, is used instead")
        self._saved_on = saved.machine

    def compare_machine(self, state: TrainingState) -> None:
        """Say what will change the last bits of the steps to come; to be called where there are any."""
        now = machine_facts(state.device)
        for name, then in self._saved_on.items():
            if name in now and now[name] != then:
                self.notify(
                    f"{name} was {then} when this run was saved and is {now[name]} now: its last bits will differ"
                )

    def tidy(self, state: TrainingState) -> None:
        """Clear away the files of killed writers and damaged checkpoints; to be called under the lock."""
        self.directory.sweep()
        set_aside(self._damaged)
        self._damaged = ()
        sweep_orphans(self.directory.checkpoints)
        self.directory.trim_metrics(state.attempt, state.step)

    def recall(self, state: TrainingState) -> Checkpoint | None:
        """Return the newest checkpoint from before updates were skipped, or None."""
        with suppress(CheckpointError):
            return load_newest(self.directory.checkpoints, self.identity, state.most_bytes(), _refuse_skipping)
        return None

    def log(self, step: Step) -> None:
        """Add a step to the metrics."""
        try:
            self.directory.log(step)
        except StorageError as refused:
            self.notify(f"metrics wait until they can be written: {refused}")
        if step.skipped is not None:
            self.notify(f"{step.skipped} is not finite at step {step.index}; such steps are skipped")

    def save(self, state: TrainingState) -> None:
        """Save a periodic checkpoint, unless updates are being skipped; the last good one then stays the newest.

        A field that is not finite can look like an empty one, so it may be noticed only here.

        Raises DegenerateError: the field is not finite, and the run has gone back too often already.
        """
        if state.skipped:
            return
        try:
            save_checkpoint(self.directory.checkpoints, state, self.identity)
        except StorageError as refused:
            self.notify(f"the run goes on and will save again at the next interval: {refused}")
        except DegenerateError:
            if state.rollbacks >= ROLLBACKS:
                raise
            state.roll_back(self.recall(state))
            self.discard_path(state)

    def save_last(self, state: TrainingState) -> None:
        """Save the checkpoint that the run ends or stops with; see `save_checkpoint` for what it raises."""
        save_checkpoint(self.directory.checkpoints, state, self.identity)

    def discard_path(self, state: TrainingState) -> None:
        """Save the state that the run has gone back to, and delete what came after it."""
        discard_newer(self.directory.checkpoints, state.attempt, state.step)
        self.save(state)
        with suppress(StorageError):
            self.directory.trim_metrics(state.attempt, state.step)
        self.notify(f"the run was not finite any more; went back to step {state.step} with half the learning rate")


def _refuse_skipping(saved: Checkpoint) -> None:
    if saved.counters.get("skipped", 0):
        raise CheckpointError("it was saved while updates were being skipped")
