"""The Python API: functions that return a run, which can be viewed, exported, evaluated and resumed."""

from dataclasses import replace
from pathlib import Path

from dreamfields import presets
from dreamfields.config import Config
from dreamfields.devices import cpu_threads
from dreamfields.guidance.settings import PromptSettings
from dreamfields.runs.checks import check_readable, check_runnable
from dreamfields.runs.directory import RunDirectory, run_path
from dreamfields.runs.run import Run

__all__ = ["Run", "generate", "load", "start"]


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
) -> Run:
    """Generate an object from a prompt, with all its files, and return its run.

    Args:
        prompt: description of the object.
        preset: a name in `PRESETS`.
        seed: of all random draws; the same seed on the same machine gives the same object.
        steps: steps of the optimiser; None takes the preset's.
        out: folder in which the run's folder is made.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: CPU threads; 0 takes all cores.
        prompts: additional prompts, such as `PromptSettings(negative_prompt="a mug")`.

    Raises DreamfieldsError: see `dreamfields.errors`.
    """
    chosen = presets.preset(preset)
    recipe, prompts = chosen.recipe, prompts or PromptSettings()
    if steps is not None:
        recipe = replace(recipe, optimize=replace(recipe.optimize, steps=steps))
    config = Config(prompt, seed, device, threads, prompts, recipe, chosen.export)  # type: ignore[arg-type]
    run = start(config, out)
    with cpu_threads(config.threads):  # Set once for all steps.
        for _ in run.steps():
            pass
        run.finish()
    return run


def start(config: Config, out: str | Path = "runs") -> Run:
    """Make the folder of a new run, ready for `Run.steps`.

    Raises UsageError: a run of this prompt and seed exists, the device does not, or no word can be read.
    Raises MissingPackageError: weights are not installed.
    Raises StorageError: the folder cannot be made, or the disk has too little space.
    """
    directory = RunDirectory(run_path(Path(out), config.prompt, config.seed))
    directory.refuse_taken()
    check_runnable(config, directory)
    check_readable(config)
    return Run.begin(directory, config)


def load(path: str | Path) -> Run:
    """Open a run. Raises UsageError: the folder has no run. Raises StorageError: its record cannot be read."""
    return Run.open(RunDirectory(Path(path)))
