"""The Python API: functions that return a run, which can be viewed, exported, evaluated and resumed."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dreamfields import presets
from dreamfields.config import Config, full_name, with_settings
from dreamfields.devices import cpu_threads
from dreamfields.errors import UsageError
from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.runs.checks import check_readable, check_runnable
from dreamfields.runs.directory import RunDirectory, run_path
from dreamfields.runs.run import Run
from dreamfields.settings import collected_faults, shortened
from dreamfields.storage import user_path

__all__ = ["Run", "configure", "generate", "load", "start"]


def configure(
    prompt: str | Config,
    *,
    preset: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    prompts: PromptSettings | None = None,
    recipe: Recipe | None = None,
    export: ExportSettings | None = None,
    settings: Mapping[str, object] | None = None,
) -> Config:
    """Return the configuration of a run; what is None is left to the preset, or to the configuration given.

    Args:
        prompt: description of the object, or a `Config` to start from, whose values the other arguments replace.
        preset: a name in `PRESETS`; None takes `quick`. Not allowed beside a `Config`, which has a recipe already.
        seed: of all random draws, from 0 to 2,147,483,647; the same seed on the same machine gives the same object.
            0 if not given.
        steps: steps of the optimiser, at least 1; short for `settings={"optimize.steps": ...}`.
        guidance: the model that scores the views, such as `lit` or `clip:FOLDER`; short for `guidance.name`.
        device: `auto`, `cpu`, `cuda` or `mps`; `auto` if not given.
        threads: CPU threads, from 0 to 1,024; 0, which is the default, takes all cores.
        prompts: all additional prompts, such as `PromptSettings(negative_prompt="a mug")`.
        recipe: all settings of the optimisation, in place of the preset's.
        export: all settings of the files written at the end, in place of the preset's.
        settings: single settings by the names of the flags of `dreamfields generate`, without the leading hyphens:
            `{"render.size": 96, "negative_prompt": "a mug", "export.video_size": 128}`. They are set after `prompts`,
            `recipe` and `export`.

    Raises UsageError: values have the wrong type or are out of range, names are unknown, or a keyword and `settings`
    give different values to one setting; the sentence lists all faults.
    """
    with collected_faults() as faults:
        keywords = {"seed": seed, "steps": steps, "guidance": guidance, "device": device, "threads": threads}
        if isinstance(prompt, str):
            keywords["prompt"] = prompt
        given, wrong = _joined(keywords, {} if settings is None else settings)
        faults += wrong
        base = _base(prompt, preset)
        base = replace(
            base,
            prompts=base.prompts if prompts is None else prompts,
            recipe=base.recipe if recipe is None else recipe,
            export=base.export if export is None else export,
        )
        config = with_settings(base, given)
    return config


def generate(
    prompt: str | Config,
    out: str | Path = "runs",
    *,
    preset: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    prompts: PromptSettings | None = None,
    recipe: Recipe | None = None,
    export: ExportSettings | None = None,
    settings: Mapping[str, object] | None = None,
) -> Run:
    """Generate an object from a prompt, with all its files, and return its run.

    `out` is the folder in which the run's folder is made; all other arguments are those of `configure`.

    Raises DreamfieldsError: what `start`, `Run.steps` and `Run.finish` raise.
    """
    run = start(
        prompt,
        out,
        preset=preset,
        seed=seed,
        steps=steps,
        guidance=guidance,
        device=device,
        threads=threads,
        prompts=prompts,
        recipe=recipe,
        export=export,
        settings=settings,
    )
    with cpu_threads(run.config.threads):  # Set once for all steps.
        for _ in run.steps():
            pass
        run.finish()
    return run


def start(
    prompt: str | Config,
    out: str | Path = "runs",
    *,
    preset: str | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    prompts: PromptSettings | None = None,
    recipe: Recipe | None = None,
    export: ExportSettings | None = None,
    settings: Mapping[str, object] | None = None,
) -> Run:
    """Make the folder of a new run, ready for `Run.steps`.

    `out` is the folder in which the run's folder is made; all other arguments are those of `configure`.

    Raises:
        UsageError: see `configure`; or a run of this prompt and seed exists, the device does not, or no word can be
            read.
        MissingPackageError: weights are not installed.
        StorageError: the folder cannot be made, or the disk has too little space.
    """
    config = configure(
        prompt,
        preset=preset,
        seed=seed,
        steps=steps,
        guidance=guidance,
        device=device,
        threads=threads,
        prompts=prompts,
        recipe=recipe,
        export=export,
        settings=settings,
    )
    if not isinstance(out, (str, os.PathLike)):
        raise UsageError(f"out is {shortened(out)}; it must be a folder, as text or a Path")
    directory = RunDirectory(run_path(user_path(out), config.prompt, config.seed))
    directory.refuse_taken()
    check_runnable(config, directory)
    check_readable(config)
    return Run.begin(directory, config)


def load(path: str | Path) -> Run:
    """Open a run. Raises UsageError: the folder has no run. Raises StorageError: its record cannot be read."""
    return Run.open(RunDirectory(user_path(path)))


def _base(prompt: str | Config, preset: str | None) -> Config:
    """Return the configuration that the other arguments change: the one given, or the preset's."""
    if isinstance(prompt, Config):
        if preset is not None:
            raise UsageError(
                f"preset is {shortened(preset)} beside a Config, which has a recipe already; leave preset out, or give "
                "the prompt as text"
            )
        return prompt
    if not isinstance(prompt, str):
        raise UsageError(
            f'the first argument is {shortened(prompt)}; it must be a prompt, such as "a teapot", or a Config; what is '
            "in a run's folder is opened by dreamfields.load"
        )
    chosen = presets.preset(presets.DEFAULT if preset is None else preset)
    return Config(prompt, recipe=chosen.recipe, export=chosen.export)


def _joined(keywords: Mapping[str, object], settings: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return the values by dotted name that keywords, unless None, and `settings` give, and what they contradict in."""
    if not isinstance(settings, Mapping):
        wanted = 'it must be values by name, such as {"render.size": 96}'
        return {}, [f"settings is {shortened(settings)}; {wanted}"]
    values, sources, faults = dict[str, object](), dict[str, str](), list[str]()
    given = [(name, name, value) for name, value in keywords.items() if value is not None]
    given += [(name, f"settings[{name!r}]", value) for name, value in settings.items()]
    for short, source, value in given:
        name = full_name(short)
        if name in values and values[name] != value:
            before = f"{sources[name]} is {shortened(values[name])}"
            faults.append(f"{before} and {source} is {shortened(value)}; give one of them")
        values[name], sources[name] = value, source
    return values, faults
