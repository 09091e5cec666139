"""`dreamfields resume`: the rest of a run that was stopped."""

from dataclasses import dataclass

from rich.console import Console

from dreamfields.cli.command import RunCommand
from dreamfields.cli.run_folder import complete
from dreamfields.cli.terminal import say
from dreamfields.runs.checks import check_runnable
from dreamfields.runs.record import read_record


@dataclass(frozen=True)
class Resume(RunCommand):
    """Go on with a run that was stopped, exactly where it stopped."""

    def check(self) -> None:
        """Make sure that there is a run, and that device, weights and disk space are there."""
        check_runnable(read_record(self.directory).config, self.directory)

    def run(self, console: Console) -> int:
        """Run the steps that are left and write the files."""
        if read_record(self.directory).status == "finished":  # So far it can be said of a folder that is only read.
            say(console, f"{self.folder} is finished already; there is nothing left to do")
            return 0
        with self.directory.locked():  # Before torch is loaded, as in `generate`.
            from dreamfields.runs.run import Run

            return complete(Run.open(self.directory), console)
