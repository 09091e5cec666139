"""Storage: files are written completely or not at all, even if the process is killed, power fails or the disk is full.

Every step of a write is one system call through `os`, so that tests can make each of them fail. Files of the user that
belong to no run are in two folders: `user_data` is kept, `user_cache` can be deleted.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dreamfields.errors import MissingPackageError, StorageError, UsageError


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file so that its path has either the old content or all of the new, and no other file is left.

    A new temporary file beside the target is written, synced and renamed; then the folder is synced.

    Raises StorageError: the target is no regular file, or the system refuses (disk full, read-only, no permission).
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
        raise _refused(path, len(content), error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file, removing a part of it that was written. Raises StorageError: the system refuses."""
    content = (line + "\n").encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, content)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refused(path, len(content), error) from error


def read_regular(path: Path, largest: int) -> bytes:
    """Return a file's content; never wait for a pipe, follow a link or read more than `largest` bytes.

    Raises OSError: the system refuses. Raises ValueError: it is no regular file, or larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path.name} is not a regular file")
        if found.st_size > largest:
            raise ValueError(f"{path.name} has {found.st_size} bytes; at most {largest} can be right")
        return file.read(largest)


def pinned_file(path: Path, sha256: str, remedy: str) -> Path:
    """Return the path of a file that belongs to this program. Raises MissingPackageError: it is not the recorded one.

    `remedy` is the end of that sentence: what to do.
    """
    if not path.is_file():
        raise MissingPackageError(f"the file {path} is missing; {remedy}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise MissingPackageError(f"{path} is damaged or not the recorded file (sha256 {digest[:12]}...); {remedy}")
    return path


def safetensors_facts(content: bytes, entry: str) -> dict[str, Any]:
    """Return the facts, a JSON object in one entry of the metadata, of a safetensors file's content.

    Such a file begins with 8 bytes of its header's length, then the header as JSON. Raises KeyError, ValueError,
    TypeError or RecursionError: it has no such entry, or is none.
    """
    header: Any = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    facts: dict[str, Any] = json.loads(header["__metadata__"][entry])
    return facts


def remove(path: Path) -> bool:
    """Delete a file if it exists and return whether it is gone; never raise an OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def move_aside(path: Path, name: str) -> None:
    """Rename a file within its folder; do nothing where it does not exist or cannot be renamed."""
    with contextlib.suppress(OSError):
        os.replace(path, path.with_name(name))


def sweep(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder; the caller must hold the folder's lock."""
    for path in folder.glob(".*.tmp"):
        remove(path)


def user_path(given: str | Path) -> Path:
    """Return a path as a user means it: a leading ~ is a home folder, also where no shell has replaced it.

    Raises UsageError: this system knows no such home folder.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{str(given)!r} begins with a home folder that is not known; write the whole path") from error


def user_data() -> Path:
    """Return the folder of data, in $XDG_DATA_HOME or ~/.local/share. Raises StorageError: there is no home folder."""
    return _user_folder("XDG_DATA_HOME", ".local/share")


def user_cache() -> Path:
    """Return the folder of caches, in $XDG_CACHE_HOME or the system's. Raises StorageError: there is no home folder."""
    return _user_folder("XDG_CACHE_HOME", "Library/Caches" if sys.platform == "darwin" else ".cache")


def _user_folder(variable: str, default: str) -> Path:
    named = Path(os.environ.get(variable) or ".")
    if named.is_absolute():  # The XDG specification says to ignore other paths.
        return named / "dreamfields"
    try:
        return Path.home() / default / "dreamfields"
    except RuntimeError as error:
        raise StorageError(f"this user has no home folder; set {variable} to a folder to keep files in") from error


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Convert an OSError in the block to a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot work in {path}: {error.strerror or error}; choose another place") from error


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:  # The system may write fewer bytes than it is given.
        left = left[os.write(descriptor, left) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, size: int, error: OSError) -> StorageError:
    needed, advice = f"{size} bytes", "choose another place"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space or choose another place"
        with contextlib.suppress(OSError):
            found = os.statvfs(path.parent)
            needed += f", {found.f_bavail * found.f_frsize} free"
    elif error.errno in (errno.EACCES, errno.EPERM):
        advice = "change who may write there, or choose another place"
    elif error.errno == errno.EIO:
        advice = "check the disk, or choose another place"
    reason = error.strerror or str(error)
    return StorageError(f"cannot write {path} ({needed}): {reason}; {advice}")
