"""A platform without the locks that runs rely on: everything can be imported, and a command says what to do."""

import subprocess
import sys

from tests.support.architecture import modules

WITHOUT = """
import os, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):  # What Windows lacks
    sys.modules[name] = None
for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "statvfs", "pwrite", "pread", "getuid", "sched_getaffinity"):
    delattr(os, name)
"""


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_all_modules_can_be_imported_there() -> None:
    # The program of xatlas runs in a process of its own, which may fail: the mesh is then laid out in another way.
    names = [f"dreamfields.{name}" for name, _ in modules() if name not in ("__main__", "export.mesh.unwrap_program")]
    ended = run(f"import {', '.join(name.rstrip('.') for name in names)}")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_help_is_shown_and_a_command_is_one_sentence_there() -> None:
    code = "from dreamfields.cli.main import main; sys.exit(main(sys.argv[1:]))"
    assert run(code, "--help").returncode == 0
    for command in (["generate", "a teapot"], ["runs"], ["doctor"]):
        ended = run(code, *command)
        assert (ended.returncode, ended.stdout) == (3, "")
        assert ended.stderr.startswith("dreamfields: this system lacks the file locks of Linux and macOS")
        assert len(ended.stderr.splitlines()) == 1
