"""Devices: chosen in order, refused where they are not, and threads counted."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch

from dreamfields import devices
from dreamfields.devices import Device, check_device, cpu_threads, resolve_device, thread_count
from dreamfields.errors import UsageError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux machine with a CUDA build of torch and a driver; tests take things away."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.13.0+cu130")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/nvidiactl")
    return monkeypatch


def test_what_may_be_there_is_not_refused(machine: pytest.MonkeyPatch) -> None:
    for device in ("auto", "cpu", "cuda"):
        check_device(device)


def test_cuda_needs_a_build_and_a_driver(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(importlib.metadata, "version", lambda _: "2.13.0+cpu")
    with pytest.raises(UsageError, match="no usable NVIDIA GPU; use --device cpu or auto"):
        check_device("cuda")
    machine.setattr(importlib.metadata, "version", lambda _: "2.13.0")
    check_device("cuda")
    machine.setattr(Path, "exists", lambda _: False)
    with pytest.raises(UsageError, match="no usable NVIDIA GPU"):
        check_device("cuda")
    machine.setattr(sys, "platform", "win32")  # Where drivers are no files, torch decides.
    check_device("cuda")


@pytest.mark.parametrize(
    ("system", "processor", "there"),
    [("darwin", "arm64", True), ("darwin", "x86_64", False), ("linux", "arm64", False)],
)
def test_mps_needs_apple_silicon(machine: pytest.MonkeyPatch, system: str, processor: str, there: bool) -> None:
    machine.setattr(sys, "platform", system)
    machine.setattr(platform, "machine", lambda: processor)
    if there:
        check_device("mps")
    else:
        with pytest.raises(UsageError, match="no Apple-silicon Mac; use --device cpu or auto"):
            check_device("mps")


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto") == torch.device(chosen)
    assert resolve_device("cpu") == torch.device("cpu")
    for device, there in (("cuda", cuda), ("mps", mps)):
        if there:
            assert resolve_device(device) == torch.device(device)  # type: ignore[arg-type]
        else:
            with pytest.raises(UsageError, match=f"device is '{device}', but torch finds none here"):
                resolve_device(device)  # type: ignore[arg-type]


def test_every_device_of_the_settings_is_known() -> None:
    assert set(get_args(Device)) == {"auto", "cpu", "cuda", "mps"}


def test_threads_asked_for_are_taken_and_none_asks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [thread_count(threads) for threads in (1, 3)] == [1, 3]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert thread_count(0) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert thread_count(0) == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert thread_count(0) == 1


def test_checking_imports_no_torch() -> None:
    assert "torch" not in vars(devices)


def test_torch_computes_with_as_many_threads_as_before_once_a_block_is_left() -> None:
    before = torch.get_num_threads()
    with cpu_threads(before + 3):
        assert torch.get_num_threads() == before + 3
        with pytest.raises(ValueError, match="any"), cpu_threads(1):
            raise ValueError("any")
        assert torch.get_num_threads() == before + 3
    assert torch.get_num_threads() == before
