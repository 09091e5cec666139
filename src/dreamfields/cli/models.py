"""`dreamfields models`: list, download and verify CLIP-like models."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, assert_never

import tyro
from rich.console import Console

from dreamfields.cli.command import Command
from dreamfields.cli.terminal import say, say_table
from dreamfields.errors import DreamfieldsError, MissingPackageError, UsageError
from dreamfields.guidance.clip import hub


@dataclass(frozen=True)
class Models(Command):
    """List, download or verify models for clip guidance: models list | download ID | verify [ID]."""

    action: Annotated[Literal["list", "download", "verify"], tyro.conf.Positional]
    """What to do."""
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")] = ""
    """The model's id on the hub, such as openai/clip-vit-base-patch16."""
    revision: str = "main"
    """Branch, tag or commit to download."""

    def check(self) -> None:
        """Make sure that a download names a model."""
        if self.action == "download" and not self.model:
            raise UsageError(f"name a model, for example: dreamfields models download {next(iter(hub.KNOWN))}")

    def run(self, console: Console) -> int:
        """Carry out the action and return the exit code: 0, or 3 if a model is not as it was recorded."""
        match self.action:
            case "list":
                rows = [(one, hub.KNOWN.get(one, ""), _state(one)) for one in _names()]
                title, caption = "models for --guidance clip:ID", "get one: dreamfields models download ID"
                say_table(console, title, ("id", "what", "here"), rows, caption)
            case "download":
                model = hub.download(self.model, self.revision)
                say(console, f"{self.model}, revision {model.revision}, {_size(model.folder)}, in {model.folder}")
                say(console, f'use it: dreamfields generate "a teapot" --guidance clip:{self.model}')
            case "verify":
                return _verify([self.model] if self.model else present(), console)
            case _:
                assert_never(self.action)
        return 0


def present() -> list[str]:
    """Return the known and recorded models that are on this machine."""
    found = []
    for name in _names():
        with suppress(DreamfieldsError):
            found.append(hub.locate(name).model_id)
    return found


def _verify(names: list[str], console: Console) -> int:
    """Compare models with their records; return 0, or 3 if one differs."""
    if not names:
        raise MissingPackageError("no model is on this machine; get one with: dreamfields models download ID")
    code = 0
    for name in names:
        try:
            files = hub.checked_digests(hub.locate(name))
            say(console, f"{name}: {len(files)} files, all as recorded")
        except MissingPackageError as error:
            say(console, f"{name}: {error}")
            code = error.exit_code
    return code


def _names() -> list[str]:
    return sorted({*hub.KNOWN, *hub.read_records()})


def _state(name: str) -> str:
    """Return in words what of a model is on this machine."""
    try:
        model = hub.locate(name)
    except DreamfieldsError:
        return "no"
    return f"{_size(model.folder)}, revision {(model.revision or '')[:8]}"


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6:.0f} MB"
