"""The table of guards: each row finds its guard in the code as it is, and wherever the code moves to."""

import ast
import shutil
from pathlib import Path

import pytest

from scripts import guard_check
from scripts.guard_check import GUARDS, Guard, taken_out
from tests.support.architecture import ROOT, SOURCE


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_row_takes_out_one_expression_of_one_function(guard: Guard) -> None:
    path, text = taken_out(guard, SOURCE)
    assert ast.unparse(ast.parse(path.read_text("utf-8"))) != text
    compile(text, path, "exec")


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_the_tests_of_a_row_are_there(guard: Guard) -> None:
    assert (ROOT / guard.tests[0]).is_file()


def test_a_row_survives_a_move_of_the_code(tmp_path: Path) -> None:
    moved = tmp_path / "package" / "elsewhere"
    moved.mkdir(parents=True)
    shutil.copy(SOURCE / "storage.py", moved / "writing.py")
    guard = next(guard for guard in GUARDS if guard.name == "fsync of the file")
    path, text = taken_out(guard, tmp_path / "package")
    assert path == moved / "writing.py"
    assert text.count("os.fsync") == (SOURCE / "storage.py").read_text("utf-8").count("os.fsync(") - 1


@pytest.mark.parametrize("change", ["function", "find"])
def test_a_row_that_finds_nothing_is_refused(change: str) -> None:
    guard = Guard(**{**vars(GUARDS[0]), change: "no_such_name"})
    with pytest.raises(SystemExit, match="correct its row"):
        taken_out(guard, SOURCE)
    assert guard_check.PACKAGE.name == "dreamfields"
