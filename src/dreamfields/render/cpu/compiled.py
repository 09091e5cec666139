"""How loops over plain arrays are compiled.

What calls each other belongs in one file: the compiler keeps its work on disk beside each file, and does not see that
another has changed.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, fuse: bool = True) -> Callable[[Function], Function]:
    """Compile a function, to run without the interpreter's lock, and keep the code on disk.

    Products and sums may be fused, which rounds once instead of twice; nothing else is left to the compiler, so that
    infinities and NaN behave as they do in torch. Without `fuse` the result has the very bits of torch's.
    """
    fastmath: bool | set[str] = {"contract"} if fuse else False

    # Without `_nrt` no function counts who holds an array, which cost the loops over rays half their time. So they can
    # make no arrays of their own: what they write to is given to them.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath, "_nrt": False}

    def decorate(function: Function) -> Function:
        try:
            return cast(Function, njit(cache=True, **options)(function))
        except RuntimeError:  # There is no folder to keep it in.
            return cast(Function, njit(**options)(function))

    return decorate
