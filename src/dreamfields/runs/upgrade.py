"""Settings of earlier versions: what each is called now, or that it is gone.

A name stays in its table for as long as a run may hold it.
"""

import reprlib
from collections.abc import Mapping
from typing import Any, Final

from dreamfields.config import Config

RENAMED: Final[Mapping[str, str]] = {
    "guidance.at_once": "guidance.batch_size",
    "mlp.degree": "mlp.max_octave",
    "mlp.recompute": "mlp.checkpoint_layers",
    "mlp.waves": "mlp.frequencies",
    "render.plaster": "render.textureless",
    "render.plaster_from": "render.textureless_from",
}
"""Old and present names of settings, `part.name`."""

_ALL_REMOVED: Final[Mapping[str, Any]] = {
    "cameras.close_ups": 0.0,
    "cameras.radius_spread": 0.0,
    "export.smoothing": 0,
    "guidance.bridge": "classes",
    "losses.total_variation": 0.0,
}


def _known(config: Config) -> set[str]:
    parts = config.to_json()["recipe"] | {"export": config.export.to_json()}
    return {f"{part}.{name}" for part, values in parts.items() if isinstance(values, dict) for name in values}


REMOVED: Final[Mapping[str, Any]] = {
    name: default for name, default in _ALL_REMOVED.items() if name not in _known(Config("any"))
}
"""Settings that are gone, `part.name`, and the defaults at which they did nothing."""


def upgrade_config(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a configuration, as run.json of any version holds it, under the present names.

    The second value is what is lost: settings that are gone and that were not at their defaults, by dotted name.
    """
    lost: dict[str, Any] = {}

    def upgraded(part: str, settings: Any) -> Any:
        if not isinstance(settings, Mapping):
            return settings
        named = {f"{part}.{name}": value for name, value in settings.items()}
        lost.update({name: named[name] for name in named.keys() & REMOVED.keys() if named[name] != REMOVED[name]})
        return {
            RENAMED.get(name, name).removeprefix(f"{part}."): value
            for name, value in named.items()
            if name not in REMOVED
        }

    config = {name: upgraded(name, value) for name, value in values.items()}
    if isinstance(config.get("recipe"), Mapping):
        config["recipe"] = {part: upgraded(part, settings) for part, settings in config["recipe"].items()}
    return config, dict(sorted(lost.items()))


def upgrade_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's settings, by dotted name, under the present names and without those that are gone."""
    return {RENAMED.get(name, name): value for name, value in identity.items() if name not in REMOVED}


def lost_sentence(name: str, value: Any) -> str:
    """Return the note on a setting that a run was begun with and that is gone."""
    return f"{name} was {reprlib.repr(value)}; this version has no such setting, and goes on without it"
