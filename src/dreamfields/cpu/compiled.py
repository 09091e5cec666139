"""Compile loops over plain arrays with Numba, and keep the machine code on disk."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numpy as np
from numba import config as numba_settings
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

from dreamfields.errors import StorageError
from dreamfields.storage import user_cache

Function = TypeVar("Function", bound=Callable[..., Any])

# Constants of float32 for the loops: one of float64 would make its whole expression float64.
ZERO, HALF, ONE, TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)


def compiled(*, fuse: bool = True, inline: bool = False) -> Callable[[Function], Function]:
    """Compile a function so that it runs without the interpreter's lock, and cache the code on disk where possible.

    With `fuse` a product and a sum may be rounded once instead of twice; nothing else is left to the compiler, so that
    infinities and NaN behave as they do in torch. Without `fuse` the result equals torch's to the bit.

    With `inline` the code becomes part of each loop that calls the function: a call passes every number of its arrays
    and tuples on the stack, hundreds of instructions, which is too much for each ray or block of samples.
    """
    fastmath: bool | set[str] = {"contract"} if fuse else False
    # Without `_nrt` no function counts references to arrays, which took half the time of the loops over rays. In turn
    # no function can make arrays: it writes to those that it is given.
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath, "_nrt": False}
    options["forceinline"] = inline

    def decorate(function: Function) -> Function:
        dispatcher = njit(**options)(function)
        # The function is in no file, or no folder is writable; without a home Numba would write into a folder "~".
        with suppress(RuntimeError, StorageError):
            if not numba_settings.CACHE_DIR:  # type: ignore[attr-defined]
                user_cache()
            dispatcher._cache = _Cache(function)
        return cast(Function, dispatcher)

    return decorate


class _Cache(FunctionCache):
    """Numba's cache, renewed when any source beside it or here changes; a damaged file in it costs a compilation.

    Numba compares the source of the compiled function alone, although code of other files is inlined in it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        beside = Path(function.__code__.co_filename).parent
        stamp = self._impl.locator.get_source_stamp(), _sources_digest(beside)
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:  # Unpickling garbage, or classes that have been renamed since, can raise anything.
            with suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(Exception):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


@cache
def _sources_digest(folder: Path) -> str:
    """Return a digest of all sources in a folder and in this one, which can be inlined, and of the compiler."""
    digest = hashlib.sha256(llvmlite.__version__.encode())
    for path in (*sorted(folder.glob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()
