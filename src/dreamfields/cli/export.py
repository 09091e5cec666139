"""`dreamfields export`: a mesh, or the raw field."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Self

import tyro
from rich.console import Console

from dreamfields.cli.command import RunCommand, values_for
from dreamfields.cli.parsing import parse_as
from dreamfields.cli.run_folder import open_trained, say_notes
from dreamfields.cli.terminal import say
from dreamfields.export.formats.table import check_size, check_target
from dreamfields.export.settings import MeshSettings, Millimetres
from dreamfields.runs.record import read_record


@dataclass(frozen=True)
class Export(RunCommand):
    """Write a run's object as a mesh, or its raw field."""

    out: Path | None = None
    """The file; its ending is the format: .glb, .obj, .ply, .stl, .3mf, .usdz, .npz, or .html for a page that shows it.
    RUN/object.glb if not given."""
    size_mm: Millimetres = None
    """Largest extent in millimetres; 200 for .glb, .usdz, .html and 100 for .stl, .3mf if not given. Other formats have
    no unit."""
    force: bool = False
    """Also replace files beside it, such as the texture of an .obj, that dreamfields did not write."""
    mesh: Annotated[MeshSettings, tyro.conf.arg(name="")] = field(default_factory=MeshSettings)
    """How the mesh is made; the defaults are the run's own settings (shown are those of preset quick)"""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """Return the mesh settings of the run that the arguments name."""
        given = parse_as(cls, arguments, "dreamfields export")
        own = read_record(given.directory).config.export
        return replace(given, mesh=MeshSettings(**values_for(MeshSettings, own)))

    @property
    def target(self) -> Path:
        """The file to write."""
        return self.out or self.folder / "object.glb"

    def check_values(self) -> None:
        """Refuse an unknown ending, and a size where it has no meaning."""
        check_size(self.target, self.size_mm)

    def check(self) -> None:
        """Make sure that there is a run, and that nothing is in the way of the file."""
        super().check()
        check_target(self.target, force=self.force)

    def run(self, console: Console) -> int:
        """Write the file, and say what it lacks."""
        run = open_trained(self.directory, console)
        asset = run.asset(replace(run.config.export, **asdict(self.mesh)), self.size_mm)
        say(console, f"wrote {run.export(self.target, asset, force=self.force)}")
        say_notes(run.export_notes, console)
        return 0
