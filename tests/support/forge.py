"""Checkpoints that are meant to do harm: their sums are right, so that each check behind the sums has work to do."""

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from dreamfields.optimize.state import TrainingState

NAME = "attempt-000-step-00000009"


class Forger:
    """Writes checkpoints of a state, changed by a test, with sizes and digests that fit."""

    def __init__(self, folder: Path, state: TrainingState) -> None:
        self.folder, self.state = folder, state
        self.marker = folder.parent / "code was run"
        self.tensors: dict[str, Tensor] = dict(state.tensors())
        self.counters: dict[str, Any] = state.counters()

    def write(self, content: bytes | None = None, **changes: Any) -> Path:
        """Write tensors, or other content, and a manifest with changes; return the manifest's path."""
        content = safetensors.torch.save(self.tensors) if content is None else content
        facts = {"counters": self.counters, "made_from": {}, "machine": {}}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode() + b"\n" + content).hexdigest()
        manifest = {"format": 2, "bytes": len(content), "sha256": digest, **facts, **changes}
        (self.folder / f"{NAME}.safetensors").write_bytes(content)
        path = self.folder / f"{NAME}.json"
        path.write_bytes(json.dumps(manifest, indent=1, sort_keys=True).encode())
        return path

    def header(self, text: str, data: int = 0) -> bytes:
        """Return a safetensors file with this header and so many bytes of data."""
        return struct.pack("<Q", len(text)) + text.encode() + bytes(data)


class RunsCode:
    """Leaves a marker when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.marker,)


def pickled(forger: Forger) -> None:
    forger.write(pickle.dumps(RunsCode(forger.marker)))


def torch_archive(forger: Forger) -> None:
    file = io.BytesIO()
    torch.save(forger.tensors, file)
    forger.write(file.getvalue())


def zip_bomb(forger: Forger) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(200_000_000))
    forger.write(file.getvalue())


def name_twice(forger: Forger) -> None:
    content = safetensors.torch.save(forger.tensors)
    length = struct.unpack("<Q", content[:8])[0]
    first = '{"occupancy":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
    text = first + content[9 : 8 + length].decode()  # The second of them is as it should be.
    forger.write(forger.header(text) + content[8 + length :])


def deep_header(forger: Forger) -> None:
    forger.write(forger.header("[" * 500_000))


def deep_manifest(forger: Forger) -> None:
    forger.write().write_bytes(b'{"a":' * 150_000)


def huge_header(forger: Forger) -> None:
    forger.write(struct.pack("<Q", 1 << 62) + b"{}")


def header_beyond_the_file(forger: Forger) -> None:
    forger.write(struct.pack("<Q", 1000) + b"{}")


def many_tensors(forger: Forger) -> None:
    entry = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    forger.write(forger.header("{" + ",".join(f'"{index}":{entry}' for index in range(100_000)) + "}"))


def class_names(forger: Forger) -> None:
    forger.tensors["__class__.__init__"] = torch.zeros(1)
    forger.write()


def a_path_as_a_name(forger: Forger) -> None:
    forger.tensors["../../../tmp/x"] = torch.zeros(1)
    forger.write()


def wrong_shape(forger: Forger) -> None:
    forger.tensors["field.grids.0"] = torch.zeros(4, 1, 1, 1)
    forger.write()


def gigantic_shape(forger: Forger) -> None:
    forger.write(forger.header('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}', 4))


def overlapping(forger: Forger) -> None:
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    forger.write(forger.header(f'{{"a":{entry},"b":{entry}}}', 4))


def wrong_type(forger: Forger) -> None:
    forger.tensors["field.grids.0"] = forger.tensors["field.grids.0"].double()
    forger.write()


def unknown_type(forger: Forger) -> None:
    forger.write(forger.header('{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', 1))


def type_that_is_a_list(forger: Forger) -> None:
    forger.write(forger.header('{"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}}', 4))


def not_a_number(forger: Forger) -> None:
    forger.tensors["field.grids.0"] = torch.full_like(forger.tensors["field.grids.0"], float("nan"))
    forger.write()


def infinite(forger: Forger) -> None:
    forger.tensors["adam.exp_avg.grids.0"] = torch.full_like(forger.tensors["adam.exp_avg.grids.0"], float("inf"))
    forger.write()


def a_list(forger: Forger) -> None:
    forger.write(forger.header("[1,2]"))


def without_a_counter(forger: Forger) -> None:
    del forger.counters["step"]
    forger.write()


def counter_of_text(forger: Forger) -> None:
    forger.counters["step"] = "9"
    forger.write()


def counter_below_zero(forger: Forger) -> None:
    forger.counters["attempt"] = -1
    forger.write()


def counter_beyond_all(forger: Forger) -> None:
    forger.counters["step"] = 10**400
    forger.write()


def watch_of_text(forger: Forger) -> None:
    forger.counters["watch"] = forger.counters["watch"] | {"score": "high"}
    forger.write()


def watch_with_more(forger: Forger) -> None:
    forger.counters["watch"] = forger.counters["watch"] | {"__init__": 1}
    forger.write()


def symlink(forger: Forger) -> None:
    data = forger.write().with_suffix(".safetensors")
    real = forger.folder.parent / "elsewhere"
    data.rename(real)
    data.symlink_to(real)


def endless_symlink(forger: Forger) -> None:
    data = forger.write().with_suffix(".safetensors")
    data.unlink()
    data.symlink_to("/dev/zero")


def pipe(forger: Forger) -> None:
    data = forger.write().with_suffix(".safetensors")
    data.unlink()
    os.mkfifo(data)


def pipe_as_manifest(forger: Forger) -> None:
    path = forger.write()
    path.unlink()
    os.mkfifo(path)


def folder(forger: Forger) -> None:
    data = forger.write().with_suffix(".safetensors")
    data.unlink()
    data.mkdir()


def sparse_terabyte(forger: Forger) -> None:
    path = forger.write(bytes=1 << 40)
    with path.with_suffix(".safetensors").open("r+b") as file:
        file.truncate(1 << 40)


def sparse_terabyte_of_manifest(forger: Forger) -> None:
    with forger.write().open("r+b") as file:
        file.truncate(1 << 40)


def size_below_zero(forger: Forger) -> None:
    forger.write(bytes=-1)


def format_of_tomorrow(forger: Forger) -> None:
    forger.write(format=99)


def format_of_text(forger: Forger) -> None:
    forger.write(format="2")


def sum_of_another_kind(forger: Forger) -> None:
    forger.write(sha256=["x"])


HOSTILE: tuple[Callable[[Forger], None], ...] = (
    *(pickled, torch_archive, zip_bomb, name_twice, deep_header, deep_manifest, huge_header, header_beyond_the_file),
    *(many_tensors, class_names, a_path_as_a_name, wrong_shape, gigantic_shape, overlapping, wrong_type, unknown_type),
    *(type_that_is_a_list, not_a_number, infinite, a_list, without_a_counter, counter_of_text, counter_below_zero),
    *(counter_beyond_all, watch_of_text, watch_with_more, symlink, endless_symlink, pipe, pipe_as_manifest, folder),
    *(sparse_terabyte, sparse_terabyte_of_manifest, size_below_zero, format_of_tomorrow, format_of_text),
    sum_of_another_kind,
)
"""One function for each way; all are refused."""
