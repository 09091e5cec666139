"""The one way files are written: whole or not at all, even if the process is killed or the disk fills."""

import contextlib
import os
import secrets
from pathlib import Path

from dreamfields.errors import StorageError


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file so that its name shows either the old content or all of the new.

    The bytes go to a fresh temporary file beside the target, reach the disk, and take the name in one rename.

    Raises:
        StorageError: the target is something other than a regular file, or the system refuses (disk full, read-only,
            no permission); the target is then as it was and nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise StorageError(f"{path} is not a regular file; move it away or choose another place")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(temporary, content)
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        cure = "free some space or choose another place"
        raise StorageError(f"cannot write {path} ({len(content)} bytes): {reason}; {cure}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, line: str) -> None:
    """Add one line to a text file, in one write.

    Raises:
        StorageError: the system refuses.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; free some space") from error
