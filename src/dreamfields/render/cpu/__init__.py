"""The compiled renderer for CPUs; every function equals a readable reference in `render`."""

from importlib import import_module
from typing import Any


def loops(name: str) -> Any:
    """Import a module of compiled loops when it is first used, as Numba takes a second to load.

    Raises ImportError: Numba is missing, or does not fit the NumPy that is installed.
    """
    return import_module(f"{__name__}.{name}")


def can_compile() -> bool:
    """Return whether Numba can be used."""
    try:
        loops("compiled")
    except ImportError:
        return False
    return True
