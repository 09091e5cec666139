"""Kill the real command at random moments, resume it, and compare the end: python scripts/kill_runs.py [KILLS].

Runs `dreamfields` as a user does, loads, handlers, lock and exports included; every kill is SIGKILL, at a moment
between the start of the program and some steps later. Ends with 1 if the killed run is not byte for byte the one that
was left alone. Some four seconds of one core a kill.
"""

import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPTIONS = [
    "--guidance.name",
    "toy",
    "--guidance.image-size",
    "32",
    "--voxels.coarsest-cells",
    "2",
    "--voxels.levels",
    "2",
    "--render.size",
    "12",
    "--render.samples",
    "12",
    "--render.occupancy-cells",
    "8",
    "--optimize.views",
    "1",
    "--optimize.backgrounds",
    "1",
    "--optimize.checkpoint-every",
    "5",
    "--export.mesh-cells",
    "16",
    "--export.max-faces",
    "500",
    "--export.level",
    "10",
    "--export.still-samples",
    "8",
    "--export.sheet-size",
    "16",
    "--export.video-size",
    "16",
    "--export.video-frames",
    "3",
    "--device",
    "cpu",
    "--threads",
    "1",
]
COMMAND = [sys.executable, "-m", "dreamfields"]
NAME = "a-red-ball-0"


def main(kills: str = "50") -> int:
    """Run, kill, resume and compare; return the exit code."""
    wanted, draws = int(kills), random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        steps = str(8 * wanted)
        generate = ["generate", "a red ball", "--steps", steps, *OPTIONS, "--out"]
        subprocess.run([*COMMAND, *generate, f"{place}/whole"], check=True, stdout=subprocess.DEVNULL)
        killed, began = Path(place, "killed", NAME), time.monotonic()
        done, furthest = 0, 0
        while done < wanted:
            command = ["resume", str(killed)] if (killed / "run.json").exists() else [*generate, f"{place}/killed"]
            done += kill_once([*COMMAND, *command], killed, draws)
            saved = saved_step(killed)
            if saved < furthest:
                print(f"went back from step {furthest} to {saved}")
                return 1
            furthest = saved
            if (killed / "object.glb").exists():
                print("the run ended before all kills; it needs more steps")
                return 1
        subprocess.run([*COMMAND, "resume", str(killed)], check=True, stdout=subprocess.DEVNULL)
        same = digests(killed) == digests(Path(place, "whole", NAME))
        seconds = time.monotonic() - began
        print(f"{done} kills, {seconds:.0f} s, files {'equal' if same else 'DIFFERENT'}: {sorted(digests(killed))}")
        return 0 if same else 1


def kill_once(command: list[str], run: Path, draws: random.Random) -> bool:
    """Start a command and kill it at a random moment; tell whether it was killed."""
    lines, more = line_count(run), draws.randrange(-1, 12)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if more < 0:
        time.sleep(draws.uniform(0.0, 3.0))  # Somewhere in its start.
    while process.poll() is None and line_count(run) < lines + more:
        time.sleep(0.001)
    time.sleep(draws.uniform(0.0, 0.02))
    process.kill()
    return process.wait() == -signal.SIGKILL


def line_count(run: Path) -> int:
    """Return how many steps a run has logged."""
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def saved_step(run: Path) -> int:
    """Return the step of the newest manifest."""
    found = sorted((run / "checkpoints").glob("*.json"))
    return int(json.loads(found[-1].read_text())["counters"]["step"]) if found else 0


def digests(run: Path) -> dict[str, str]:
    """Return the sha256 of the last state, the metrics and the object."""
    newest = sorted((run / "checkpoints").glob("*.json"))[-1]
    files = (newest, newest.with_suffix(".safetensors"), run / "metrics.jsonl", run / "object.glb")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
