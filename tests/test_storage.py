"""Storage: a file is whole or not there, whatever happens in between."""

import errno
import os
import resource
import secrets
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dreamfields.errors import StorageError, UsageError
from dreamfields.storage import append_line, atomic_write, user_cache, user_data, user_path

OLD, NEW = b"old content", b"new content, and longer"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with something in it already, alone in its folder."""
    path = tmp_path / "state.json"
    path.write_bytes(OLD)
    return path


def failing(error: OSError) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def test_the_new_content_takes_the_place_of_the_old(target: Path) -> None:
    atomic_write(target, NEW)
    assert target.read_bytes() == NEW
    assert list(target.parent.iterdir()) == [target]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a" / "b" / "c", b"")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b""


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("number", [28, 5, 122, 30])  # ENOSPC, EIO, EDQUOT, EROFS
def test_a_refusal_of_the_system_leaves_the_old_content_and_nothing_beside_it(
    target: Path, call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, call, failing(OSError(number, os.strerror(number))))
    with pytest.raises(StorageError) as caught:
        atomic_write(target, NEW)
    monkeypatch.undo()
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]
    for part in (str(target), f"({len(NEW)} bytes", os.strerror(number), "choose another place"):
        assert part in str(caught.value)
    assert ("free some space" in str(caught.value)) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert ("change who may write there" in str(caught.value)) == (number in (errno.EACCES, errno.EPERM))


def test_a_disk_that_fills_half_way_leaves_the_old_content(target: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(StorageError, match="too large"):
            atomic_write(target, bytes(3 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


def test_an_interruption_leaves_the_old_content_and_nothing_beside_it(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(target, NEW)
    monkeypatch.undo()
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_at_any_call_shows_old_or_new_and_never_neither(target: Path, call: str, moment: str) -> None:
    code = f"""
import os, pathlib
from dreamfields.storage import atomic_write
real = os.{call}
def killed(*args, **kwargs):
    if {moment == "after"}: real(*args, **kwargs)
    os._exit(9)
os.{call} = killed
atomic_write(pathlib.Path({str(target)!r}), {NEW!r})
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 9
    renamed = call == "replace" and moment == "after"
    assert target.read_bytes() == (NEW if renamed else OLD)


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_end(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def recorded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            size = os.fstat(args[0]).st_size if name == "fsync" and not is_folder else None
            calls.append("fsync folder" if is_folder else f"fsync {size} bytes" if size is not None else name)
            return real(*args, **kwargs)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, recorded(name, getattr(os, name)))
    atomic_write(target, NEW)
    assert calls == [f"fsync {len(NEW)} bytes", "replace", "fsync folder"]


def test_a_symlink_is_refused_and_what_it_points_to_is_untouched(target: Path) -> None:
    link = target.with_name("link")
    link.symlink_to(target)
    with pytest.raises(StorageError, match="link is not a regular file; move it away"):
        atomic_write(link, NEW)
    assert target.read_bytes() == OLD
    dangling = target.with_name("dangling")
    dangling.symlink_to("nowhere")
    with pytest.raises(StorageError, match="not a regular file"):
        atomic_write(dangling, NEW)


@pytest.mark.parametrize("plant", ["symlink", "link"])
def test_nothing_is_written_through_a_link_at_the_temporary_name(
    target: Path, plant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = target.with_name("other")
    other.write_bytes(OLD)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "known")
    getattr(os, plant)(other, target.with_name(".state.json.known.tmp"))
    with pytest.raises(StorageError):
        atomic_write(target, NEW)
    assert (target.read_bytes(), other.read_bytes()) == (OLD, OLD)


def test_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(StorageError, match=f"{name} is not a regular file"):
            atomic_write(tmp_path / name, NEW)


def test_a_file_where_a_folder_should_be_is_refused(target: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        atomic_write(target / "below", NEW)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("length", [240, 300])
def test_a_name_too_long_is_refused_in_a_sentence(tmp_path: Path, length: int) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*name too long"):
        atomic_write(tmp_path / ("a" * length), NEW)
    assert not list(tmp_path.iterdir())


def test_lines_are_added_at_the_end(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "zwei \N{WHITE SMILING FACE}")
    assert (tmp_path / "log").read_bytes() == "one\nzwei \N{WHITE SMILING FACE}\n".encode()


def test_a_line_that_cannot_be_added_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"^cannot write .*: Is a directory; "):
        append_line(tmp_path, "one")


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_environment_says_where_the_user_s_files_are(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_cache() == Path("/caches/dreamfields")
    assert user_data() == Path("/data/dreamfields")


@pytest.mark.parametrize("said", [None, "", "not/absolute"])
@pytest.mark.parametrize(("platform", "caches"), [("linux", ".cache"), ("darwin", "Library/Caches")])
def test_otherwise_they_are_where_the_system_has_them(
    platform: str, caches: str, said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        if said is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, said)
    assert user_cache() == tmp_path / caches / "dreamfields"
    assert user_data() == tmp_path / ".local/share/dreamfields"


def test_a_user_without_a_home_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(StorageError, match="no home folder; set XDG_CACHE_HOME to a folder"):
        user_cache()


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_path("~/a/~b") == Path("/somewhere/a/~b")
    assert user_path(Path("a/~")) == Path("a/~")
    with pytest.raises(UsageError, match="'~no-such-user/a' begins with a home folder that is not known"):
        user_path("~no-such-user/a")
