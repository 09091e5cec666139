"""Lit: closed forms of its two bridges, and that images and sentences of the same thing meet."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dreamfields.guidance.lit.closed_form import Bridge, LitGuidance, class_distribution, ridge_regression, rivals
from dreamfields.guidance.lit.towers import class_names
from dreamfields.guidance.settings import GuidanceSettings
from tests.guidance.conftest import SIZE, Lit

Bridges = Callable[[Bridge], LitGuidance]
BRIDGES: tuple[Bridge, ...] = get_args(Bridge)

PHOTOGRAPHS = {
    "chelsea.png": "a cat",
    "coffee.png": "a cup of coffee",
    "rocket.jpg": "a rocket",
    "motorcycle_left.png": "a motorcycle",
}
"""Images inside scikit-image's wheel, and what they show."""


def photograph(name: str, size: int) -> Tensor:
    """Read the middle square of a packaged photograph, shrunk to size: (1, 3, size, size)."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    with Image.open(Path(spec.origin).parent / "data" / name) as file:
        pixels = torch.from_numpy(np.asarray(file.convert("RGB")).copy()).permute(2, 0, 1)[None] / 255.0
    side = min(pixels.shape[-2:])
    top, left = ((extent - side) // 2 for extent in pixels.shape[-2:])
    square = pixels[..., top : top + side, left : left + side]
    return functional.interpolate(square, size=(size, size), mode="bilinear", antialias=True)


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return torch.rand((3, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))


def test_ridge_regression_solves_the_normal_equations() -> None:
    inputs, targets = torch.randn(30, 5).double(), torch.randn(30, 4).double()
    strength = 0.7
    gram = inputs.T @ inputs + strength * torch.eye(5).double()
    solution = ridge_regression(inputs, targets, strength)
    assert torch.allclose(gram @ solution, inputs.T @ targets)

    def objective(candidate: Tensor) -> float:
        return float((inputs @ candidate - targets).square().sum() + strength * candidate.square().sum())

    for _ in range(5):
        assert objective(solution + 0.01 * torch.randn(5, 4)) > objective(solution)


def test_ridge_regression_interpolates_without_strength_and_forgets_with_much() -> None:
    inputs, targets = torch.randn(6, 6).double(), torch.randn(6, 3).double()
    assert torch.allclose(inputs @ ridge_regression(inputs, targets, 1e-12), targets, atol=1e-4)
    sizes = [float(ridge_regression(inputs, targets, strength).norm()) for strength in (0.1, 1.0, 10.0, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-6


def test_a_class_distribution_by_hand() -> None:
    names = torch.eye(3)
    q = class_distribution(torch.tensor([[0.6, 0.8, 0.0]]), names, 0.1)[0]
    assert q.sum().item() == pytest.approx(1.0)
    assert (q[1] / q[0]).item() == pytest.approx(math.exp(2.0), rel=1e-4)
    assert (q[0] / q[2]).item() == pytest.approx(math.exp(6.0), rel=1e-4)


def test_rivals_go_from_the_mean_of_the_logits_to_their_largest_as_they_sharpen() -> None:
    logits = torch.randn(4, 50, dtype=torch.float64)
    assert torch.equal(rivals(logits, 0.0), logits.mean(dim=-1))
    assert torch.allclose(rivals(logits, 1e-6), logits.mean(dim=-1), atol=1e-4)
    assert torch.allclose(rivals(logits, 1.0), torch.logsumexp(logits, dim=-1) - math.log(50))
    assert torch.allclose(rivals(logits, 1e4), logits.max(dim=-1).values, atol=1e-3)
    values = torch.stack([rivals(logits, sharpness) for sharpness in (0.0, 0.1, 0.5, 1.0, 5.0)])
    assert (values.diff(dim=0) > 0.0).all()


@pytest.mark.parametrize("sharpness", [0.3, 1.0])
def test_the_gradient_of_rivals_is_a_softmax(sharpness: float) -> None:
    logits = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(rivals(logits, sharpness).sum(), logits)
    assert torch.allclose(gradient, torch.softmax(sharpness * logits.detach(), dim=-1))


@pytest.mark.parametrize(("bridge", "fraction"), [("classes", 1.0), ("features", 0.0), ("both", 0.5)])
def test_sharpness_turns_the_classes_part_of_a_score_towards_the_log_probability(
    bridge: Bridge, fraction: float, bridged: Bridges, noise: Tensor
) -> None:
    guide = bridged(bridge)
    wanted = guide.encode_text(["a teapot"])[0]
    logits = guide.tower.logits(guide.tower.features(noise))
    difference = guide.score(noise, wanted) - guide.score(noise, wanted, sharpness=1.0)
    expected = fraction * 0.1 * (torch.logsumexp(logits, -1) - math.log(1000.0) - logits.mean(dim=-1))
    assert torch.allclose(difference, expected, atol=1e-5)


def test_there_are_a_thousand_class_names_and_some_stand_twice() -> None:
    names = class_names()
    assert len(names) == 1000
    assert [names[index] for index in (0, 849, 954, 999)] == ["tench", "teapot", "banana", "toilet paper"]
    assert 990 < len(set(names)) <= 1000
    assert all(name == name.strip() and name for name in names)


@pytest.mark.parametrize("name", ["teapot", "banana", "school bus", "tabby cat"])
def test_a_sentence_about_a_class_is_nearest_to_that_class(lit: Lit, name: str) -> None:
    guide = lit.guides[0]
    embedding = guide.sentences.encode([f"a photo of a {name}"])
    q = class_distribution(embedding, guide.class_sentences, 0.05)[0]
    assert class_names()[int(q.argmax())] == name
    assert q.sum().item() == pytest.approx(1.0, abs=1e-4)
    assert q.max() > 0.1  # Sharp: a hundred times a uniform distribution.


def test_sentence_embeddings_do_not_depend_on_their_company(lit: Lit) -> None:
    sentences = lit.guides[0].sentences
    long = "a very long sentence about " + "teapots and " * 30 + "cups"
    texts = ["a teapot", long, *(f"word {index}" for index in range(70))]
    together = sentences.encode(texts)
    assert together.shape == (len(texts), 384)
    assert torch.allclose(together.norm(dim=-1), torch.ones(len(texts)), atol=1e-5)
    for index in (0, 1, 65):
        assert torch.allclose(together[index], sentences.encode([texts[index]])[0], atol=1e-5)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_embeddings_of_both_sides_are_unit_vectors_of_one_space(
    bridge: Bridge, bridged: Bridges, noise: Tensor
) -> None:
    guide = bridged(bridge)
    texts, images = guide.encode_text(["a teapot", "justice"]), guide.encode_image(noise)
    assert texts.shape[1] == images.shape[1]
    assert torch.allclose(texts.norm(dim=-1), torch.ones(2), atol=1e-5)
    assert torch.allclose(images.norm(dim=-1), torch.ones(3), atol=1e-5)


def test_cosine_and_score_of_both_are_the_means_of_the_two(bridged: Bridges, noise: Tensor) -> None:
    def cosines(bridge: Bridge) -> Tensor:
        return bridged(bridge).encode_image(noise) @ bridged(bridge).encode_text(["a teapot", "a red car"]).T

    def scores(bridge: Bridge) -> Tensor:
        return bridged(bridge).score(noise, bridged(bridge).encode_text(["a red car"])[0])

    for value in (cosines, scores):
        assert torch.allclose(value("both"), 0.5 * (value("classes") + value("features")), atol=1e-5)


def test_the_score_of_classes_is_a_tenth_of_the_lead_of_the_wanted_logits(bridged: Bridges, noise: Tensor) -> None:
    guide = bridged("classes")
    logits = guide.tower.logits(guide.tower.features(noise))
    wanted = torch.zeros(1000)
    wanted[849] = 1.0
    expected = 0.1 * (logits[:, 849] - logits.mean(dim=-1))
    assert torch.allclose(guide.score(noise, wanted), expected, atol=1e-5)


def test_the_score_of_features_is_their_cosine(bridged: Bridges, noise: Tensor) -> None:
    guide = bridged("features")
    wanted = guide.encode_text(["a teapot"])[0]
    assert torch.allclose(guide.score(noise, wanted), guide.encode_image(noise) @ wanted, atol=1e-6)


def test_the_class_bridge_is_centred_logits_and_the_centred_distribution(bridged: Bridges, noise: Tensor) -> None:
    guide = bridged("classes")
    image = guide.encode_image(noise)
    logits = guide.tower.logits(guide.tower.features(noise))
    assert torch.allclose(image.mean(dim=-1), torch.zeros(3), atol=1e-5)
    expected = functional.cosine_similarity(image, logits - logits.mean(dim=-1, keepdim=True))
    assert torch.allclose(expected, torch.ones(3), atol=1e-5)
    text = guide.encode_text(["a teapot"])[0]
    assert text.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert class_names()[int(text.argmax())] == "teapot"


def test_the_feature_bridge_leads_names_to_the_rows_of_their_classifier(bridged: Bridges) -> None:
    guide = bridged("features")
    indices = [1, 849, 954, 779]
    texts = guide.encode_text([f"a photo of a {class_names()[index]}" for index in indices])
    rows = functional.normalize(guide.tower.class_weight - guide.tower.class_weight.mean(dim=0), dim=-1)
    assert (texts @ rows.T).argmax(dim=-1).tolist() == indices


def test_the_feature_bridge_maps_how_a_sentence_differs_from_the_mean_class(bridged: Bridges) -> None:
    guide = bridged("features")
    names = guide.class_sentences
    rows = functional.normalize(guide.tower.class_weight - guide.tower.class_weight.mean(dim=0), dim=-1)
    mapped = ridge_regression(names - names.mean(dim=0), rows, 1.0)
    difference = guide.sentences.encode(["a red teapot"]) - names.mean(dim=0)
    expected = functional.normalize(difference @ mapped, dim=-1)
    assert torch.allclose(guide.encode_text(["a red teapot"]), expected, atol=1e-5)


def test_the_feature_bridge_centres_images_on_the_mean_feature(bridged: Bridges, noise: Tensor) -> None:
    guide = bridged("features")
    expected = functional.normalize(guide.tower.features(noise) - guide.tower.feature_mean, dim=-1)
    assert torch.allclose(guide.encode_image(noise), expected, atol=1e-6)


def test_the_guides_are_named_frozen_and_weigh_the_same(lit: Lit) -> None:
    assert [guide.name for guide in lit.guides] == ["lit-lite0", "lit-lite2"]
    assert len(set(lit.weights)) == 1
    for guide in lit.guides:
        assert guide.image_size == SIZE
        assert not guide.tower.training
        assert not guide.sentences.training
        assert not any(parameter.requires_grad for parameter in guide.parameters())


@pytest.mark.parametrize(
    ("size", "jitter", "sizes"),
    [
        (64, 0.25, (48, 64, 80)),
        (64, 0.24, (64,)),
        (64, 0.0, (64,)),
        (72, 0.0, (72,)),  # No multiple of 16 is near: itself.
        (72, 0.12, (64, 80)),
        (96, 0.9, tuple(range(16, 177, 16))),
    ],
)
def test_images_are_shown_at_multiples_of_16_around_the_size(
    lit: Lit, size: int, jitter: float, sizes: tuple[int, ...]
) -> None:
    first = lit.guides[0]
    guide = LitGuidance(first.tower, first.sentences, first.class_sentences, "classes", size, jitter)
    assert guide.image_sizes == sizes


def test_the_settings_reach_every_guide(lit: Lit) -> None:
    assert [guide.image_sizes for guide in lit.guides] == [(48, 64, 80)] * 2
    assert [guide.bridge for guide in lit.guides] == ["classes"] * 2


@pytest.mark.parametrize("bridge", BRIDGES)
def test_following_the_gradient_raises_the_score(bridge: Bridge, bridged: Bridges) -> None:
    guide = bridged(bridge)
    wanted = guide.encode_text(["a teapot"])[0]
    image = torch.full((1, 3, SIZE, SIZE), 0.5, requires_grad=True)
    score = guide.score(image, wanted).sum()
    score.backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    with torch.no_grad():
        followed = image + 0.002 * image.grad.sign()
        assert guide.score(followed, wanted).sum() > score


def test_photographs_match_what_they_show_better_than_what_they_do_not(lit: Lit) -> None:
    images = torch.cat([photograph(name, GuidanceSettings().image_size) for name in PHOTOGRAPHS])
    sentences = [f"a photo of {shown}" for shown in PHOTOGRAPHS.values()]
    totals = torch.zeros(len(images), len(sentences))
    with torch.no_grad():
        for guide in lit.guides:
            totals += torch.stack([guide.score(images, text) for text in guide.encode_text(sentences)], dim=-1)
    right = list(range(len(sentences)))
    assert totals.argmax(dim=1).tolist() == right, totals  # Each image's best sentence.
    assert totals.argmax(dim=0).tolist() == right, totals  # Each sentence's best image.
