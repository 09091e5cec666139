"""Processes that can be killed by the hundred: forked from one that has loaded everything, a tenth of a second each.

`Forks` starts `python -m tests.support.forks`, which forks a child for each request, sends it signals when it is
to, and answers how it ended. Moments are told in steps that the run has logged, so that they do not depend on how
fast the machine is.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 400.0


@dataclass(frozen=True)
class Blow:
    """A signal and its moment: so many more lines in the run's metrics, and then so many seconds."""

    number: int
    lines: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Request:
    """What a child is to do in a run's folder: its steps alone, or a command of the command line."""

    folder: str
    command: list[str] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    code: int
    """Its exit code; minus the signal that killed it."""
    seconds: float
    """From the last signal, or from its start, to its end."""
    output: str


class Forks:
    """The parent of children that do what they are asked to; to be entered."""

    def __enter__(self) -> Self:
        paths = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def run(self, request: Request) -> Ended:
        """Let a child carry out a request and return how it ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(request)) + "\n")
        self.process.stdin.flush()
        return Ended(**self._answer())

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def serve() -> None:
    """Load everything once, then carry out requests until there are no more."""
    import torch

    from dreamfields import api
    from dreamfields.cli import main as cli

    assert all((api, cli))
    # Who was started in the background of a shell ignores it, and so would all children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    warm_up()
    answer = os.fdopen(os.dup(1), "w")
    answer.write("{}\n")
    answer.flush()
    for line in sys.stdin:
        request = json.loads(line)
        request["blows"] = [Blow(**blow) for blow in request["blows"]]
        answer.write(json.dumps(asdict(carry_out(Request(**request)))) + "\n")
        answer.flush()


def warm_up() -> None:
    """Take a step, so that what is compiled at first is compiled once and not by every child."""
    from tests.support.toys import advance, new_state

    advance(new_state(), 1)


def carry_out(request: Request) -> Ended:
    """Fork a child, send it what is asked for, and wait for its end."""
    output = Path(request.folder).with_suffix(".output")
    metrics = Path(request.folder) / "metrics.jsonl"
    before = lines_in(metrics)
    output.touch()  # A child may be killed before it makes it.
    child = os.fork()
    if child == 0:
        become(request, output)
    began, status = time.monotonic(), None
    for blow in request.blows:
        while status is None and lines_in(metrics) < before + blow.lines and time.monotonic() - began < TIMEOUT_S:
            status = ended(child)
            time.sleep(0.001)
        time.sleep(blow.seconds)
        status = ended(child) if status is None else status
        if status is not None:
            break
        began, before = time.monotonic(), lines_in(metrics)
        os.kill(child, blow.number)
    while status is None:
        if time.monotonic() - began > TIMEOUT_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
        status = ended(child)
    seconds = time.monotonic() - began
    return Ended(os.waitstatus_to_exitcode(status), seconds, output.read_text(errors="replace"))


def ended(child: int) -> int | None:
    """Return the status of a child that has ended."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return status if pid else None


def become(request: Request, output: Path) -> None:
    """Be the child: do what is asked for and end."""
    code = 70
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        from dreamfields import api
        from dreamfields.cli import main as cli

        if request.command:
            code = cli.main(request.command)
        else:
            for _ in api.load(request.folder).steps():
                pass
            code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def lines_in(path: Path) -> int:
    """Return how many lines a file has; none if it is not there."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    serve()
