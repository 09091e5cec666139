"""What compiled loops share: a compiler that keeps its code on disk, threads, and names for flat arrays.

The loops themselves are in `render/cpu` and `guidance/cpu`.
"""

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int32]
Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def can_compile() -> bool:
    """Return whether Numba can be used: it is installed and fits the NumPy that is."""
    try:
        # Imported when it is first needed, as Numba takes a second to load.
        return bool(import_module(f"{__name__}.compiled"))
    except ImportError:
        return False
