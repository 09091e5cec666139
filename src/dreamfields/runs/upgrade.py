"""Settings of earlier versions: what each is called now. A name stays in the table for as long as a run may hold it."""

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
"""Old and present names of settings of the recipe, `part.name`."""


def upgrade_config(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as JSON values, as a run.json of any version holds it, under the present names."""
    recipe = values.get("recipe")
    if not isinstance(recipe, Mapping):
        return dict(values)
    upgraded = {part: _upgrade_part(part, settings) for part, settings in recipe.items()}
    return {**values, "recipe": upgraded}


def upgrade_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says it was made from, by dotted name, under the present names."""
    return {RENAMED.get(name, name): value for name, value in identity.items()}


def _upgrade_part(part: str, settings: Any) -> Any:
    if not isinstance(settings, Mapping):
        return settings
    return {
        RENAMED.get(f"{part}.{name}", f"{part}.{name}").removeprefix(f"{part}."): value
        for name, value in settings.items()
    }
