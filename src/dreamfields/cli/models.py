"""`dreamfields models`: which CLIP-like models are here, getting one, and whether they are still the same."""

import contextlib
from pathlib import Path
from typing import Literal, assert_never

from rich.console import Console
from rich.table import Table

from dreamfields.errors import DreamfieldsError, MissingPackageError
from dreamfields.guidance.clip import hub

Action = Literal["list", "download", "verify"]


def run(action: Action, model_id: str, revision: str, console: Console) -> int:
    """Carry out one action and return the exit code."""
    match action:
        case "list":
            show(console)
        case "download":
            fetch(model_id, revision, console)
        case "verify":
            return verify(model_id, console)
        case _:
            assert_never(action)
    return 0


def show(console: Console) -> None:
    """Print the known models and those recorded here, with revision and size."""
    table = Table(title="models for --guidance.name clip:ID", caption="get one: dreamfields models download ID")
    for heading in ("id", "what", "here"):
        table.add_column(heading, no_wrap=heading != "what")
    for model_id in sorted({*hub.KNOWN, *hub.read_records()}):
        table.add_row(model_id, hub.KNOWN.get(model_id, ""), state(model_id))
    console.print(table)


def state(model_id: str) -> str:
    """Return in words what of a model is on this machine."""
    try:
        model = hub.locate(model_id)
    except DreamfieldsError:
        return "no"
    return f"{megabytes(model.folder):.0f} MB, revision {(model.revision or '')[:8]}"


def present() -> list[str]:
    """Return the known and recorded models that are on this machine."""
    found = []
    for model_id in sorted({*hub.KNOWN, *hub.read_records()}):
        with contextlib.suppress(DreamfieldsError):
            found.append(hub.locate(model_id).model_id)
    return found


def fetch(model_id: str, revision: str, console: Console) -> None:
    """Download a model and say how to use it."""
    model = hub.download(model_id, revision)
    console.print(
        f"{model_id}, revision {model.revision}, {megabytes(model.folder):.0f} MB, in {model.folder}", soft_wrap=True
    )
    console.print(f'use it: dreamfields generate "a teapot" --guidance.name clip:{model_id}', soft_wrap=True)


def verify(model_id: str, console: Console) -> int:
    """Compare one model, or all that are here, with the record; return 0, or 3 if one differs."""
    places = [model_id] if model_id else present()
    if not places:
        raise MissingPackageError("no model is on this machine; get one with: dreamfields models download ID")
    code = 0
    for one in places:
        try:
            files = hub.checked_digests(hub.locate(one))
            console.print(f"{one}: {len(files)} files, all as recorded", soft_wrap=True)
        except MissingPackageError as error:
            console.print(f"{one}: {error}", soft_wrap=True, markup=False)
            code = error.exit_code
    return code


def megabytes(folder: Path) -> float:
    """Return the size of the files in a model's folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
