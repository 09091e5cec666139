"""Read a run's exported files by other people's programs: python scripts/check_files.py RUN.

Exports the run's object in the formats that a program below reads, and prints what each says of it:

* glTF: the validator of Khronos, from npm (`node` and `npm`; it is fetched into a temporary folder), without an error.
* STL: admesh (Debian: admesh), nothing to mend.
* STL and 3MF: PrusaSlicer and Slic3r (Debian: prusa-slicer, slic3r), manifold, one largest extent of the wanted size.
* USDZ: the checks of usd-core (pip install usd-core), no failure.

Ends with 1 if a program finds a fault, and with 3 if none does but one is not installed, so was not asked.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import dreamfields

SIZE_MM: Final = 80.0
VALIDATOR: Final = "gltf-validator@2.0.0-dev.3.10"
VALIDATE: Final = """
const {readFileSync} = require("fs");
require("gltf-validator").validateBytes(new Uint8Array(readFileSync(process.argv[1])))
    .then(report => console.log(JSON.stringify(report.issues)));
"""


class NotInstalledError(Exception):
    """A program is not on this machine; the text says how to get it."""


def output(*command: str, folder: Path | None = None) -> str:
    """Return what a program prints. Raises NotInstalledError: it is not on the PATH."""
    if shutil.which(command[0]) is None:
        raise NotInstalledError(f"{command[0]} is not on the PATH")
    ended = subprocess.run(command, capture_output=True, cwd=folder, timeout=600, check=False)
    return (ended.stdout + ended.stderr).decode(errors="replace")


def validate_gltf(file: Path) -> list[str]:
    """Return the errors and warnings of Khronos' validator."""
    with tempfile.TemporaryDirectory() as folder:
        said = output("npm", "install", "--silent", "--no-fund", "--no-audit", VALIDATOR, folder=Path(folder))
        if not (Path(folder) / "node_modules").is_dir():
            raise NotInstalledError(f"npm cannot install {VALIDATOR}: {said[:200]}")
        report = json.loads(output("node", "-e", VALIDATE, str(file.resolve()), folder=Path(folder)))
    return [f"{one['code']} at {one.get('pointer')}" for one in report["messages"] if one["severity"] < 2]


def mend_stl(file: Path) -> list[str]:
    """Return the counts of what admesh had to mend, those above 0."""
    counts = re.findall(r"^((?:\w+ )+)\s*:\s+(\d+)\s*$", output("admesh", str(file)), re.MULTILINE)
    mended = {name.strip(): int(count) for name, count in counts}
    assert "Edges fixed" in mended, "admesh prints something else than it did"
    return [f"{name} {count}" for name, count in mended.items() if count and name != "Number of parts"]


def slice_with(program: str) -> Callable[[Path], list[str]]:
    """Return a check of what a slicer tells of a file: a manifold of the right size."""

    def check(file: Path) -> list[str]:
        facts = dict(re.findall(r"^(\w+) = +(\S+)$", output(program, "--info", str(file)), re.MULTILINE))
        faults = [] if facts.get("manifold") == "yes" else [f"manifold is {facts.get('manifold')}"]
        largest = max(float(facts.get(f"size_{axis}", "nan")) for axis in "xyz")
        return faults if abs(largest - SIZE_MM) < 0.01 else [*faults, f"its largest extent is {largest}"]

    return check


def check_usd(file: Path) -> list[str]:
    """Return the failures that usd-core's validators find."""
    try:
        from pxr import Usd, UsdValidation
    except ImportError as error:
        raise NotInstalledError("run: pip install usd-core") from error
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    found = UsdValidation.ValidationContext(validators).Validate(Usd.Stage.Open(str(file)))
    return [error.GetMessage() for error in found]


CHECKS: Final[Mapping[str, Mapping[str, Callable[[Path], list[str]]]]] = {
    ".glb": {"Khronos glTF validator": validate_gltf},
    ".stl": {"admesh": mend_stl, "PrusaSlicer": slice_with("prusa-slicer"), "Slic3r": slice_with("slic3r")},
    ".3mf": {"PrusaSlicer": slice_with("prusa-slicer"), "Slic3r": slice_with("slic3r")},
    ".usdz": {"usd-core": check_usd},
}


def main() -> int:
    """Export, ask every program, print a line for each, and return the exit code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    run, codes = dreamfields.load(sys.argv[1]), {0}
    asset = run.asset(size_mm=SIZE_MM)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, programs in CHECKS.items():
            for program, check in programs.items():
                try:
                    faults = check(run.export(Path(folder) / f"object{suffix}", asset))
                    verdict, code = "; ".join(faults) or "no fault", 1 if faults else 0
                except (NotInstalledError, dreamfields.DreamfieldsError) as missing:
                    verdict, code = f"NOT CHECKED: {missing}", 3
                codes.add(code)
                print(f"{suffix:6} {program:24} {verdict}", flush=True)
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
