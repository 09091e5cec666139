"""The state of a run for its page, kept up to date in the background while somebody views it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, final

from dreamfields import __version__
from dreamfields.errors import DreamfieldsError, StorageError
from dreamfields.guidance.ensemble import label
from dreamfields.studio.journal import Journal

if TYPE_CHECKING:
    # For types only: the page is there before torch is loaded.
    from dreamfields.studio.preview import Preview

_POLL_S: Final = 0.5
_REQUEST_S: Final = 3.0  # Least seconds between two requests for a checkpoint
_REST: Final = 6.0  # Seconds of rest after each second of processor time for a preview


@final
class Watcher:
    """A run's journal and newest preview; files are read only while `viewers`, the number of open pages, is above 0."""

    def __init__(self, journal: Journal) -> None:
        """Start with an empty preview; `watching` keeps it up to date."""
        self.journal = journal
        self.preview: Preview | None = None
        self.fault = ""  # Why there is no preview of the newest checkpoint.
        self.viewers = 0
        self.version = 0  # Grows with every change.
        self._last: tuple[object, ...] = ()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch in the background while this is entered."""
        tasks = [asyncio.create_task(self._follow_journal()), asyncio.create_task(self._follow_checkpoints())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def identity(self) -> dict[str, Any]:
        """Return as JSON values what never changes in a run."""
        config, recipe = self.journal.config, self.journal.config.recipe
        facts = {
            "seed": config.seed,
            "guidance": label(recipe.guidance.name),
            "field": recipe.field,
            "steps": recipe.optimize.steps,
            "generator": f"dreamfields {__version__}",
        }
        return {"prompt": config.prompt, "facts": facts, "settings": config.to_json()}

    def state(self) -> dict[str, Any]:
        """Return as JSON values the progress of a run, and the addresses of its image, mesh and files."""
        record, progress, preview = self.journal.record, self.journal.progress, self.preview
        files = self.journal.files()
        mesh = ""
        if self.journal.status == "finished" and "object.glb" in files:
            mesh = "/files/object.glb"
        elif preview is not None and preview.mesh:
            mesh = f"/object.glb?v={preview.name}"
        return {
            "status": self.journal.status,
            "total": self.journal.config.recipe.optimize.steps,
            "step": progress.last.get("index", 0),
            "steps": progress.steps,
            "attempt": progress.last.get("attempt", 0) + 1,
            "score": progress.last.get("score"),
            "opacity": progress.last.get("opacity"),
            "seconds": record.seconds or None,
            "idle_seconds": round(self.journal.idle_seconds, 1),
            "device": record.device or None,
            "notes": list(record.all_notes),
            "curve": [round(point, 4) for point in progress.curve.points],
            "width": progress.curve.width,
            "restarts": progress.restarts,
            "image": f"/image.png?v={preview.name}" if preview is not None else "",
            "image_step": preview.step if preview is not None else 0,
            "mesh": mesh,
            "fault": self.fault,
            "files": list(files),
        }

    async def _follow_journal(self) -> None:
        while True:
            if self.viewers:
                await asyncio.to_thread(self.journal.refresh)
                files = await asyncio.to_thread(self.journal.files)
                now = (self.journal.record, self.journal.progress.steps, list(files), self.preview, self.fault)
                if now != self._last:
                    self._last, self.version = now, self.version + 1
            await asyncio.sleep(_POLL_S)

    async def _follow_checkpoints(self) -> None:
        next_preview, next_request = 0.0, 0.0
        while True:
            now = time.monotonic()
            if self.viewers and now >= next_preview:
                rest = _REST * await asyncio.to_thread(self.refresh_preview)
                next_preview = now + rest
                if self.journal.status == "running" and now >= next_request:
                    await asyncio.to_thread(self.request_checkpoint)
                    next_request = now + max(_REQUEST_S, rest)
            await asyncio.sleep(_POLL_S)

    def refresh_preview(self) -> float:
        """Make the preview of the newest checkpoint, unless it is there; what goes wrong is told in `fault`.

        Return the processor seconds that this took; 0 for the first preview, which compiles the renderer.
        """
        was_first, began = self.preview is None, time.thread_time()
        try:
            from dreamfields.studio import preview

            name = preview.newest_checkpoint(self.journal.directory)
            if name and (self.preview is None or name != self.preview.name):
                self.preview, self.fault = preview.make_preview(self.journal.directory, self.journal.config, name), ""
        # Whatever goes wrong here, no one else would tell: an exception would end the background task unseen.
        except Exception as error:
            expected = isinstance(error, (DreamfieldsError, OSError))
            self.fault = str(error) if expected else f"the preview failed: {type(error).__name__}: {error}"
            was_first = False
        return 0.0 if was_first else time.thread_time() - began

    def request_checkpoint(self) -> None:
        """Ask the optimiser for a checkpoint; in a folder that cannot be written previews follow its own."""
        with contextlib.suppress(StorageError):
            self.journal.directory.request_checkpoint()
