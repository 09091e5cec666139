"""Threads for compiled loops: those that torch computes with, so that the two never stand in each other's way.

After each of its operations torch leaves its threads turning on the spot for milliseconds, ready for the next. A second
set of threads shares the cores with them for that long, which cost half as much again as the loops themselves. So
the loops ask the same OpenMP library for the same threads. Where torch came with another library, plain threads do.

Numba's own threads are no way out: they would abort the process on some of its layers when a preview renders beside a
training, and wait for cores like any others.
"""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

Work = Callable[[int, int], None]
"""work(part, parts) does one of several parts; the compiled loops in it run without the interpreter's lock."""


def in_threads(work: Work, parts: int) -> None:
    """Do work(part, parts) for each part, side by side; the first error of any part is raised when all have ended."""
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


_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _in_openmp(openmp: Any, work: Work, parts: int) -> None:
    waiting, errors = iter(range(parts)), list[BaseException]()

    def take_parts(_: object) -> None:
        # The library may give fewer threads than were asked for, so each goes on until nothing waits. To look whether
        # anything does and to take it is one step: between two, another thread could take it.
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
        try:
            library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            library.GOMP_parallel.argtypes = (_Callback, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
            library.GOMP_parallel.restype = None
        except (AttributeError, OSError):
            continue
        return library
    return None
