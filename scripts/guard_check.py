"""Take each guard away in a copy of the code, and see that a test fails: python scripts/guard_check.py [NAME ...].

A guard without a test that misses it protects nothing for long. Each row of the table below names a guard, the words in
the code that are it, what stands there without it, and the tests that must fail then. A new guard is a new row.
Prints one line a guard, and ends with 1 if a guard was not missed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Guard:
    """A guard, the change that takes it away, and who must notice."""

    name: str
    file: str
    """Below src/dreamfields."""
    present: str
    """Words that stand exactly once in the file."""
    absent: str
    """What stands there without the guard."""
    tests: tuple[str, ...]
    """Arguments for pytest."""


SAVES = ("tests/reliability/test_saves.py",)
DAMAGE = ("tests/reliability/test_damage.py",)
NUMBERS = ("tests/reliability/test_numbers.py",)
DISK = ("tests/reliability/test_disk.py",)
GATE = ("tests/studio/test_gate.py",)

GUARDS: tuple[Guard, ...] = (
    Guard(
        "fsync of the file",
        "storage.py",
        "        _write_all(descriptor, content)\n        os.fsync(descriptor)\n",
        "        _write_all(descriptor, content)\n",
        SAVES,
    ),
    Guard("fsync of the folder", "storage.py", "        _sync_directory(path.parent)\n", "", SAVES),
    Guard(
        "replace",
        "storage.py",
        "        _write_new(temporary, content)\n        os.replace(temporary, path)\n",
        "        remove(path)\n        _write_new(path, content)\n",
        SAVES,
    ),
    Guard(
        "manifest's sha256",
        "runs/checkpoint.py",
        'len(content) != size or digest != manifest["sha256"]',
        "len(content) != size",
        DAMAGE,
    ),
    Guard(
        "names stand once",
        "runs/manifest.py",
        "if len(found) != len(pairs):",
        "if False:",
        (*DAMAGE, "-k", "hostile"),
    ),
    Guard(
        "finite before the update",
        "optimize/loop.py",
        "    if nonfinite is None:\n        state.optimizer.step()\n",
        "    state.optimizer.step()\n",
        NUMBERS,
    ),
    Guard(
        "finite before a save",
        "runs/checkpoint.py",
        "    if odd:\n        raise Degenerate",
        "    if False:\n        raise Degenerate",
        NUMBERS,
    ),
    Guard(
        "finite after a load",
        "runs/checkpoint.py",
        "    if odd:\n        raise CheckpointError",
        "    if False:\n        raise CheckpointError",
        (*DAMAGE, "-k", "hostile"),
    ),
    Guard(
        "going back after a row of skips",
        "optimize/loop.py",
        "        elif state.skipped >= SKIPS:",
        "        elif False:",
        NUMBERS,
    ),
    Guard(
        "lock",
        "runs/lock.py",
        "                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "",
        ("tests/reliability/test_starts.py", "-k", "not four"),
    ),
    Guard(
        "checkpoint of another run",
        "runs/checkpoint.py",
        '    _refuse_another_run(manifest_path, upgrade_identity(manifest.get("made_from", {})), identity or {})\n',
        "",
        ("tests/runs/test_checkpointer.py", "-k", "another_prompt"),
    ),
    Guard(
        "second signal",
        "cli/signals.py",
        "        if seen == 2:\n",
        "        if seen == 3:\n",
        ("tests/cli/test_signals.py", "-k", "second"),
    ),
    Guard("free space", "runs/disk.py", "    if free < needed:\n", "    if False:\n", (*DISK, "-k", "too_little")),
    Guard(
        "metrics on a full disk",
        "runs/checkpointer.py",
        "            self.directory.log(step)\n        except StorageError as refused:",
        "            self.directory.log(step)\n        except FileExistsError as refused:",
        (*DISK, "-k", "for_a_while"),
    ),
    Guard(
        "sweep of what killed writers left",
        "runs/checkpointer.py",
        "        self.directory.sweep()\n",
        "",
        ("tests/runs/test_checkpointer.py",),
    ),
    Guard(
        "plain words on the terminal",
        "cli/terminal.py",
        'errors.print(one_line(f"dreamfields: {sentence}")',
        'errors.print((f"dreamfields: {sentence}")',
        ("tests/reliability/test_inputs.py", "-k", "raw"),
    ),
    Guard(
        "Host",
        "studio/gate.py",
        "if len(hosts) != 1 or hosts[0] not in self._hosts:",
        "if len(hosts) != 1:",
        GATE,
    ),
    Guard(
        "Origin",
        "studio/gate.py",
        'if any(origin != f"http://{hosts[0]}" for origin in headers.getlist("origin")):',
        "if False:",
        GATE,
    ),
    Guard(
        "token",
        "studio/gate.py",
        'return hmac.compare_digest(given.encode(errors="surrogatepass"), self._token.encode())',
        "return True",
        GATE,
    ),
)


def main(*names: str) -> int:
    """Check all guards, or those named, and return the exit code."""
    chosen = [guard for guard in GUARDS if not names or guard.name in names]
    print("| guard taken away | noticed by | seconds |\n|---|---|---|")
    missed = 0
    for guard in chosen:
        began = time.monotonic()
        failed = noticed(guard)
        missed += failed is None
        print(f"| {guard.name} | {failed or '**nobody**'} | {time.monotonic() - began:.0f} |", flush=True)
    return 1 if missed else 0


def noticed(guard: Guard) -> str | None:
    """Return the first test that fails without a guard; None if all pass."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "src" / "dreamfields" / guard.file
        text = file.read_text(encoding="utf-8")
        if text.count(guard.present) != 1:
            raise SystemExit(
                f"{guard.name}: its words stand {text.count(guard.present)} times in {guard.file}; mend its row"
            )
        file.write_text(text.replace(guard.present, guard.absent), encoding="utf-8")
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


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
