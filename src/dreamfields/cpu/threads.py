"""Run compiled loops in the threads that torch computes with.

After each operation torch leaves its threads spinning for milliseconds. A second set of threads would share the cores
with them, which made the loops half as slow again. So they take the same threads from the same OpenMP library; where
torch came with another one, plain threads serve. Numba's own do not: some abort the process when a preview renders
beside a training.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

Work = Callable[[int, int], None]
"""work(part, parts) does one of several parts; the compiled loops in it run without the interpreter's lock."""


def in_threads(work: Work, parts: int) -> None:
    """Do work(part, parts) for each part in parallel; an error of any part is raised when all have ended."""
    if parts == 1:
        work(0, 1)
    elif (openmp := _openmp()) is not None:
        _in_openmp(openmp, work, parts)
    else:
        in_plain_threads(work, parts)


def in_plain_threads(work: Work, parts: int) -> None:
    """Do what `in_threads` does with threads of the interpreter: the readable reference."""
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(work, part, parts) for part in range(1, parts)]
        work(0, parts)
    for other in others:
        other.result()


def share(count: int, part: int, parts: int) -> slice:
    """Return which of `count` things a part does: as many as the others, but for one, and next to each other."""
    return slice(count * part // parts, count * (part + 1) // parts)


_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _in_openmp(openmp: Any, work: Work, parts: int) -> None:
    waiting, errors = iter(range(parts)), list[BaseException]()

    def take_parts(_: object) -> None:
        # Of fewer threads than parts each takes parts until none is left. `next` cannot give one twice.
        try:
            while (part := next(waiting, None)) is not None:
                work(part, parts)
        except BaseException as error:  # An exception must not leave through foreign code.
            errors.append(error)

    openmp.GOMP_parallel(_Callback(take_parts), None, parts, 0)
    if errors:
        raise errors[0]


@cache
def _openmp() -> Any | None:
    """Return the GNU OpenMP library that torch has loaded, or None."""
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
        with suppress(AttributeError, OSError):
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            library.GOMP_parallel.argtypes = (_Callback, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
            library.GOMP_parallel.restype = None
            return library
    return None
