"""`dreamfields prior`: the library of shapes that runs start from, built or measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import tyro
from rich.console import Console

from dreamfields.cli.command import Command
from dreamfields.cli.progress import show_stages
from dreamfields.cli.terminal import say, say_table
from dreamfields.errors import UsageError

CREDITS: Final = ".credits.md"


@dataclass(frozen=True)
class Prior(Command):
    """Build the shapes that runs start from, or measure such: prior build SHAPES --out FILE | prior evaluate SHAPES."""

    action: Annotated[Literal["build", "evaluate"], tyro.conf.Positional]
    """What to do."""
    shapes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SHAPES")]
    """Folder with models.jsonl and models.zip."""
    out: Path | None = None
    """Where `build` writes the shapes; the makers whom they ask to be named are in a .credits.md file beside it."""

    def check(self) -> None:
        """Make sure that a place for the result is named, and that it is free."""
        if self.action == "build" and self.out is None:
            raise UsageError("say where to write the shapes, for example: --out shapes.safetensors")
        if self.action == "build" and self.out:
            for path in (self.out, self.out.with_suffix(CREDITS)):
                if path.exists():
                    raise UsageError(f"{path} is there already; move it away or choose another --out")

    def run(self, console: Console) -> int:
        """Build and write a library, or print how much shapes overlap with models that were left out of it."""
        from dreamfields.guidance.clip.hub import file_sha256
        from dreamfields.prior.credits import credits_document
        from dreamfields.prior.library import library_bytes
        from dreamfields.storage import atomic_write
        from dreamfields.train.library_measure import measure_library
        from dreamfields.train.shape_library import allowed_models, gather
        from dreamfields.train.shapes import read_shapes

        models = read_shapes(self.shapes)
        solids = show_stages(console, gather(models))
        if self.action == "evaluate":
            rows = [
                [name, f"{one.known_names:.3f}", f"{one.unseen_names:.3f}"]
                for name, one in measure_library(solids).items()
            ]
            title = f"median overlap with models of {models.name} that were left out"
            say_table(console, title, ["shape", "of known names", "of unseen names"], rows)
            return 0
        assert self.out is not None  # `check` has made sure.
        library = solids.library(allowed_models(solids.shapes))
        atomic_write(self.out, library_bytes(library, {"set": models.name}))
        if credits := credits_document(library):
            atomic_write(self.out.with_suffix(CREDITS), credits.encode())
        say(console, f"wrote {self.out}, {len(library.names)} shapes, sha256 {file_sha256(self.out)}")
        return 0
