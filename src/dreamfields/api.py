"""The Python API: a prompt in, a run out; the run is a folder that can be shown, exported, judged and resumed."""

from dataclasses import replace
from pathlib import Path

from dreamfields import presets
from dreamfields.config import Config
from dreamfields.guidance.settings import PromptSettings
from dreamfields.runs.checks import check_runnable
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
        prompts: further prompts, such as `PromptSettings(negative_prompt="a mug")`.

    Raises DreamfieldsError: one sentence that says what to do; see `dreamfields.errors`.
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


def start(config: Config, out: str | Path = "runs") -> Run:
    """Make the folder of a new run, ready for `Run.steps`.

    Raises:
        UsageError: there is a run of this prompt and seed already, or the device is not there.
        MissingPackageError: weights are not installed.
        StorageError: the folder cannot be made, or the disk has too little room.
    """
    directory = RunDirectory(run_path(Path(out), config.prompt, config.seed))
    directory.refuse_taken()
    check_runnable(config, directory)
    return Run.begin(directory, config)


def load(path: str | Path) -> Run:
    """Open a run that was started before.

    Raises:
        UsageError: there is no run in the folder.
        StorageError: its record cannot be understood.
    """
    return Run.open(RunDirectory(Path(path)))
