"""The prior of this package: a file whose digest is pinned, checked without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from dreamfields.guidance.lit.weights import MINILM, package_file
from dreamfields.storage import pinned_file

if TYPE_CHECKING:
    from dreamfields.prior.network import ShapePrior

FILE: Final = Path(__file__).parent / "data" / "prior.safetensors"
SHA256: Final = "76e52d395a4c5467f11ed0765364c4bdb23a65bf684a70d96b10357fd6c56b49"
_REMEDY: Final = "run: pip install --force-reinstall dreamfields, or start without it: --init none"


def check_prior() -> None:
    """Check that the prior and the model that reads its sentences are there.

    Raises MissingPackageError: the file is missing or not the recorded one, or a package is not installed.
    """
    pinned_file(FILE, SHA256, _REMEDY)
    package_file(MINILM)


def packaged_prior() -> "ShapePrior":
    """Load the prior of this package. Raises MissingPackageError as `check_prior`."""
    from dreamfields.prior.network import read_prior

    return read_prior(pinned_file(FILE, SHA256, _REMEDY))
