"""The device that a run computes on, and whether it is available."""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dreamfields.errors import UsageError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]


def check_device(device: Device) -> None:
    """Refuse a device that this machine cannot have; does not import torch.

    Raises UsageError: CUDA without a driver or with a CPU build of torch, or MPS away from Apple silicon.
    """
    has_driver = sys.platform != "linux" or Path("/dev/nvidiactl").exists()
    if device == "cuda" and ("+cpu" in importlib.metadata.version("torch") or not has_driver):
        raise UsageError("device is 'cuda', but this machine has no usable NVIDIA GPU; use --device cpu or auto")
    if device == "mps" and not (sys.platform == "darwin" and platform.machine() == "arm64"):
        raise UsageError("device is 'mps', but this is no Apple-silicon Mac; use --device cpu or auto")


def resolve_device(device: Device) -> "torch.device":
    """Return the device to compute on; `auto` takes CUDA, then MPS, then the CPU.

    Raises UsageError: torch does not find the device.
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    if not available[device]:
        raise UsageError(f"device is {device!r}, but torch finds none here; use --device cpu or auto")
    return torch.device(device)


def thread_count(threads: int) -> int:
    """Return the number of CPU threads to use; 0 takes all cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads or cores


@contextmanager
def cpu_threads(threads: int) -> Iterator[None]:
    """Let torch compute with `thread_count(threads)` threads in the block, and then with as many as before."""
    import torch

    before, wanted = torch.get_num_threads(), thread_count(threads)
    # Setting the number, even to the same, drops what torch has prepared for its convolutions.
    if wanted != before:
        torch.set_num_threads(wanted)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
