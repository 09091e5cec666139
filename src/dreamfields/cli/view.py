"""`dreamfields view`: a page about a run on this machine."""

from dataclasses import dataclass

from rich.console import Console

from dreamfields.cli.command import RunCommand


@dataclass(frozen=True)
class View(RunCommand):
    """Show a run on a local page, live while it is made: latest render, score curve, the mesh to turn."""

    port: int = 8350
    """Port on 127.0.0.1; 0 takes a free one."""

    def run(self, console: Console) -> int:
        """Serve the page until it is stopped."""
        from dreamfields.studio import serve

        return serve.view(self.folder, self.port, console)
