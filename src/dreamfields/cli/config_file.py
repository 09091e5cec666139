"""Settings from a file: the run.json of a run, or YAML or JSON of the same structure or a part of it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from dreamfields.errors import UsageError
from dreamfields.runs.directory import RECORD
from dreamfields.runs.upgrade import upgrade_config
from dreamfields.storage import read_regular

_LARGEST: Final = 4_000_000
_TAG: Final = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML 1.2 where 1.1 would surprise: `off` is a word, `1e-3` a number, and a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.removeprefix(_TAG) not in ("bool", "float", "timestamp")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile("(true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"), list("-+.0123456789")
)


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a file, or in a run's folder, under their present names. Raises UsageError if none are."""
    try:
        text = read_regular((path / RECORD if path.is_dir() else path).resolve(), _LARGEST).decode()
        values = _parse(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"--config {path} cannot be read: {' '.join(str(error).split())[:300]}") from error
    if isinstance(values, Mapping) and isinstance(values.get("config"), Mapping):
        values = values["config"]
    if not isinstance(values, Mapping):
        raise UsageError(f"--config {path} holds no settings; write, for example: recipe: {{optimize: {{steps: 100}}}}")
    config, lost = upgrade_config(values)
    if lost:
        raise UsageError(f"--config {path} sets {', '.join(lost)}, which this version no longer has; take it out")
    return config


def _parse(text: str) -> Any:
    """Return what a text of JSON or YAML holds; JSON is tried first, for YAML reads some of it differently."""
    try:
        return json.loads(text)
    except ValueError:
        return _Loader(text).get_single_data()
