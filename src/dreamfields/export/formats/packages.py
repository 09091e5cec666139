"""Packages that a format needs and that may be missing; found without loading them."""

import importlib.util
from typing import Final

from dreamfields.errors import MissingPackageError

NO_USD: Final = "USDZ needs the package usd-core; run: pip install usd-core, or export to .glb"


def check_usd() -> None:
    """Make sure that `usd-core` is installed. Raises MissingPackageError: it is not."""
    if importlib.util.find_spec("pxr") is None:
        raise MissingPackageError(NO_USD)
