"""Settings of earlier versions: what each is called now, or that it is gone.

A name stays in its table for as long as a run may hold it.
"""

import reprlib
from collections.abc import Mapping
from typing import Any, Final

RENAMED: Final[Mapping[str, str]] = {
    "guidance.at_once": "guidance.batch_size",
    "mlp.degree": "mlp.max_octave",
    "mlp.recompute": "mlp.checkpoint_layers",
    "mlp.waves": "mlp.frequencies",
    "render.plaster": "render.textureless",
    "render.plaster_from": "render.textureless_from",
}
"""Old and present names of settings, `part.name`."""

REMOVED: Final[Mapping[str, Any]] = {
    "cameras.close_ups": 0.0,
    "cameras.radius_spread": 0.0,
    "export.smoothing": 0,
    "guidance.bridge": "classes",
    "losses.total_variation": 0.0,
}
"""Settings that are gone, `part.name`, and the defaults at which they did nothing."""

ADDED: Final[Mapping[str, Any]] = {"prompts.sides": "never", "recipe.init.source": "none"}
"""Settings that change what a run makes, by their place, and how runs from before there were these are gone on with."""


def upgrade_config(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configuration of any version's run.json under present names, and what is lost of it by dotted name.

    Lost is a setting that is gone and was not at its default.
    """
    lost: dict[str, Any] = {}

    def upgraded(part: str, settings: Any) -> Any:
        if not isinstance(settings, Mapping):
            return settings
        present = {}
        for name, value in settings.items():
            dotted = f"{part}.{name}"
            if dotted not in REMOVED:
                present[RENAMED.get(dotted, dotted).removeprefix(f"{part}.")] = value
            elif value != REMOVED[dotted]:
                lost[dotted] = value
        return present

    config = {name: upgraded(name, value) for name, value in values.items()}
    if isinstance(config.get("recipe"), Mapping):
        config["recipe"] = {part: upgraded(part, settings) for part, settings in config["recipe"].items()}
    return config, lost


def complete_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration, under present names, with what it did before a setting existed."""
    completed = dict(config)
    for dotted, before in ADDED.items():
        completed = _with_default(completed, dotted.split("."), before)
    return completed


def _with_default(values: Mapping[str, Any], path: list[str], default: Any) -> dict[str, Any]:
    """Return nested values with a default at a path, unless there is something; what is no mapping stays as it is."""
    first, *rest = path
    if not rest:
        return {first: default, **values}
    inner = values.get(first, {})
    return {**values, first: _with_default(inner, rest, default)} if isinstance(inner, Mapping) else dict(values)


def upgrade_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's settings, by dotted name, under the present names and without those that are gone."""
    return {RENAMED.get(name, name): value for name, value in identity.items() if name not in REMOVED}


def lost_sentence(name: str, value: Any) -> str:
    """Return the note on a setting that a run was begun with and that is gone."""
    return f"{name} was {reprlib.repr(value)}; this version has no such setting, and goes on without it"
