"""The prior of this package: a file whose digest is pinned, checked without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from dreamfields.errors import UsageError
from dreamfields.guidance.lit.weights import MINILM, package_file
from dreamfields.guidance.lit.words import unknown_words
from dreamfields.guidance.prompts import is_unreadable
from dreamfields.storage import pinned_file

if TYPE_CHECKING:
    from dreamfields.prior.library import ShapeLibrary

FILE: Final = Path(__file__).parent / "data" / "shapes.safetensors"
SHA256: Final = "1d2af154789a36ec1548a7aa4766d0a2271b938548e39fa28380618626e93f37"
_REMEDY: Final = "run: pip install --force-reinstall dreamfields, or start without it: --init none"


def check_prior() -> None:
    """Check that the prior and the model that reads its sentences are there.

    Raises MissingPackageError: the file is missing or not the recorded one, or a package is not installed.
    """
    pinned_file(FILE, SHA256, _REMEDY)
    package_file(MINILM)


def check_words(text: str, name: str) -> None:
    """Refuse a text, called by its name, of which the prior cannot read a single word. Raises UsageError."""
    if is_unreadable(text, unknown_words(text)):
        raise UsageError(f"the prior can read no word of {name}, {text[:80]!r}; it reads English, so translate it")


def packaged_prior() -> "ShapeLibrary":
    """Load the prior of this package. Raises MissingPackageError as `check_prior`."""
    from dreamfields.prior.library import read_library

    return read_library(pinned_file(FILE, SHA256, _REMEDY))
