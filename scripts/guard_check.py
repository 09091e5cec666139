"""Take each guard out of a copy of the code and see that a test fails: python scripts/guard_check.py [NAME ...].

A guard that no test misses does not stay for long. Each row of the table names a guard, the function it is in, the
expression that is the guard, what stands there without it, and the tests that must then fail. Functions are found by
name wherever they are, and expressions by what they call or mention, so rows survive a move of the code.
Prints one line a guard and exits with 1 if the loss of a guard was not noticed.
"""

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("src/dreamfields")


@dataclass(frozen=True)
class Guard:
    """A guard, how to take it out, and the tests that must notice."""

    name: str
    function: str
    """Name of the function it is in, with its class: `Gate._refusal`."""
    find: str
    """A called function (`os.fsync`), an exception that is caught, or a name or text that a condition mentions."""
    without: str
    """Expression that takes the place of the call or condition; {argument} stands for the call's first argument."""
    tests: tuple[str, ...]
    """Arguments for pytest."""


SAVES = ("tests/reliability/test_saves.py",)
DAMAGE = ("tests/reliability/test_damage.py",)
HOSTILE = (*DAMAGE, "-k", "hostile")
NUMBERS = ("tests/reliability/test_numbers.py",)
DISK = ("tests/reliability/test_disk.py",)
STARTS = ("tests/reliability/test_starts.py", "-k", "not four")
KEPT = ("tests/runs/test_checkpointer.py",)
GATE = ("tests/studio/test_gate.py",)

GUARDS: tuple[Guard, ...] = (
    Guard("fsync of the file", "_write_new", "os.fsync", "None", SAVES),
    Guard("fsync of the folder", "atomic_write", "_sync_directory", "None", SAVES),
    Guard("replace", "atomic_write", "os.replace", "(remove(path), os.replace(temporary, path))", SAVES),
    Guard("sha256 of a checkpoint", "load_checkpoint", "digest", "False", DAMAGE),
    Guard("names stand once", "_once", "found", "False", HOSTILE),
    Guard("finite before the update", "_descend", "first_nonfinite", "None", NUMBERS),
    Guard("finite before a save", "save_checkpoint", "first_nonfinite", "None", NUMBERS),
    Guard("finite after a load", "load_checkpoint", "first_nonfinite", "None", HOSTILE),
    Guard("going back after a row of skips", "optimize", "SKIPS", "False", NUMBERS),
    Guard("lock", "FolderLock._take", "fcntl.flock", "None", STARTS),
    Guard(
        "checkpoint of another run", "load_checkpoint", "_refuse_another_run", "None", (*KEPT, "-k", "another_prompt")
    ),
    Guard("second signal", "_exit_at_second", "count", "False", ("tests/cli/test_signals.py", "-k", "second")),
    Guard("free space", "check_space", "free", "False", (*DISK, "-k", "too_little")),
    Guard(
        "metrics on a full disk", "Checkpointer.log", "StorageError", "FileExistsError", (*DISK, "-k", "for_a_while")
    ),
    Guard("sweep of what killed writers left", "Checkpointer.tidy", "self.directory.sweep", "None", KEPT),
    Guard(
        "plain text on the terminal",
        "say",
        "one_line",
        "{argument}",
        ("tests/reliability/test_inputs.py", "-k", "raw"),
    ),
    Guard("Host", "Gate._refusal", "self._hosts", "False", GATE),
    Guard("Origin", "Gate._refusal", "origin", "False", GATE),
    Guard("token", "Gate._is_token", "hmac.compare_digest", "True", GATE),
)


def main(*names: str) -> int:
    """Check all guards, or those named, and return the exit code."""
    print("| guard taken out | noticed by | seconds |\n|---|---|---|")
    missed = 0
    for guard in (guard for guard in GUARDS if not names or guard.name in names):
        began = time.monotonic()
        failed = noticed(guard)
        missed += failed is None
        print(f"| {guard.name} | {failed or '**nobody**'} | {time.monotonic() - began:.0f} |", flush=True)
    return 1 if missed else 0


def noticed(guard: Guard) -> str | None:
    """Return the first test that fails without a guard; None if all pass."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path, text = taken_out(guard, copy / PACKAGE)
        path.write_text(text, encoding="utf-8")
        paths = os.pathsep.join([str(copy / "src"), str(copy)])
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider", *guard.tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode not in (0, 1):
        raise SystemExit(f"{guard.name}: the tests could not be run: {done.stdout[-500:]}{done.stderr[-500:]}")
    return lines[0].split(" - ")[0].split("::")[-1] if lines else None


def taken_out(guard: Guard, package: Path) -> tuple[Path, str]:
    """Return the file that a guard is in and its source without the guard.

    Raises:
        SystemExit: the package does not have just one such expression in functions of that name.
    """
    found = []
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        change = TakeOut(guard)
        for name, function in functions(tree):
            if name == guard.function:
                change.visit(function)
        found += [(path, tree)] * change.count
    if len(found) != 1:
        raise SystemExit(f"{guard.name}: {guard.find} stands {len(found)} times in {guard.function}; correct its row")
    path, tree = found[0]
    return path, ast.unparse(tree)


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield every function of a module with its name, methods as `Class.method`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{node.name}.")


class TakeOut(ast.NodeTransformer):
    """Replaces the calls, caught exceptions and conditions that a guard names, and counts them."""

    def __init__(self, guard: Guard) -> None:
        """Prepare to take a guard out of a function."""
        self.find, self.without, self.count = guard.find, guard.without, 0

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace a call of the function that is looked for."""
        if ast.unparse(node.func) != self.find:
            return self.generic_visit(node)
        argument = ast.unparse(node.args[0]) if node.args else "None"
        return self._replacement(argument)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Replace a comparison that mentions what is looked for."""
        return self._replacement() if self._is_mentioned(node) else self.generic_visit(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        """Replace what a generator yields where the generator mentions what is looked for."""
        if self._is_mentioned(node):
            node.elt = self._replacement()
            return node
        return self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """Replace the exception that is caught."""
        if node.type is not None and ast.unparse(node.type) == self.find:
            node.type = self._replacement()
        return self.generic_visit(node)

    def _is_mentioned(self, node: ast.AST) -> bool:
        texts = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
        names = {ast.unparse(one) for one in ast.walk(node) if isinstance(one, (ast.Name, ast.Attribute))}
        return self.find in texts | names

    def _replacement(self, argument: str = "") -> ast.expr:
        self.count += 1
        return ast.parse(self.without.format(argument=argument), mode="eval").body


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
