"""Watching a run for those who look on: files are read only while somebody does."""

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

_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the files."""
_ASK_EVERY: Final = 3.0
"""Least seconds between two wishes for a checkpoint."""
_SHARE: Final = 6.0
"""Shapes are made only so often that they take one part in so many of a core."""


@final
class Watcher:
    """A run's journal and its newest shape, and a number that grows with every change."""

    def __init__(self, journal: Journal) -> None:
        """Watch a run, once `watching` is entered."""
        self.journal = journal
        self.preview: Preview | None = None
        self.fault = ""
        self.version = 0
        self.viewers = 0
        self._seen: tuple[object, ...] = ()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch in the background while this is entered."""
        tasks = [asyncio.create_task(self._follow_journal()), asyncio.create_task(self._follow_shape())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def identity(self) -> dict[str, Any]:
        """Return as JSON values what of a run never changes."""
        config = self.journal.config
        return {
            "prompt": config.prompt,
            "facts": {
                "seed": config.seed,
                "guidance": label(config.recipe.guidance.name),
                "field": config.recipe.field,
                "steps": config.recipe.optimize.steps,
                "generator": f"dreamfields {__version__}",
            },
            "settings": config.to_json(),
        }

    def state(self) -> dict[str, Any]:
        """Return as JSON values how far a run is and what there is to see of it."""
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
            "silence": round(self.journal.idle_seconds, 1),
            "device": record.device or None,
            "notes": list(record.all_notes),
            "curve": [round(point, 4) for point in progress.curve.points],
            "width": progress.curve.width,
            "restarts": progress.restarts,
            "picture": f"/picture.png?v={preview.name}" if preview is not None else "",
            "picture_step": preview.step if preview is not None else 0,
            "mesh": mesh,
            "fault": self.fault,
            "files": list(files),
        }

    async def _follow_journal(self) -> None:
        while True:
            if self.viewers:
                await asyncio.to_thread(self.journal.refresh)
                files = await asyncio.to_thread(self.journal.files)
                seen = (self.journal.record, self.journal.progress.steps, list(files), self.preview, self.fault)
                if seen != self._seen:
                    self._seen, self.version = seen, self.version + 1
            await asyncio.sleep(_LOOK_EVERY)

    async def _follow_shape(self) -> None:
        rest, ask = 0.0, 0.0
        while True:
            now = time.monotonic()
            if self.viewers and now >= rest:
                pause = _SHARE * await asyncio.to_thread(self.look)
                rest = now + pause
                if self.journal.status == "running" and now >= ask:
                    await asyncio.to_thread(self.ask)
                    ask = now + max(_ASK_EVERY, pause)
            await asyncio.sleep(_LOOK_EVERY)

    def look(self) -> float:
        """Make the shape of the newest checkpoint, unless it is the present one.

        Returns:
            Processor seconds that this took; 0 for the first, which compiles what renders.
        """
        from dreamfields.studio import preview as preview

        is_first, began = self.preview is None, time.thread_time()
        try:
            name = preview.newest_checkpoint(self.journal.directory)
            if name and (self.preview is None or name != self.preview.name):
                self.preview, self.fault = preview.make_preview(self.journal.directory, self.journal.config, name), ""
        except (DreamfieldsError, OSError, RuntimeError, ValueError) as error:
            self.fault = str(error)
        return 0.0 if is_first else time.thread_time() - began

    def ask(self) -> None:
        """Ask for a checkpoint; where the folder cannot be written, pictures come as often as checkpoints do."""
        with contextlib.suppress(StorageError):
            self.journal.directory.request_checkpoint()
