"""Toy guidance: colours, unit vectors, and gradients that lead to the colour named."""

import pytest
import torch
from torch.nn import functional

from dreamfields.guidance.base import mean_direction
from dreamfields.guidance.toy import ToyGuidance


def plain(colour: tuple[float, float, float], size: int = 32) -> torch.Tensor:
    return torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, size, size)


def test_the_image_of_a_colour_matches_its_word_exactly_and_every_other_less() -> None:
    guidance = ToyGuidance()
    words = list(guidance.COLOURS)
    images = torch.cat([plain(colour) for colour in guidance.COLOURS.values()])
    scores = guidance.encode_image(images) @ guidance.encode_text([f"a {word} ball" for word in words]).T
    assert scores.diagonal().tolist() == pytest.approx([1.0] * len(words), abs=1e-5)
    assert scores.argmax(dim=0).tolist() == list(range(len(words)))


def test_embeddings_are_unit_vectors_even_of_grey() -> None:
    guidance = ToyGuidance()
    texts = guidance.encode_text(["a red ball", "a ball", "red and blue", ""])
    images = guidance.encode_image(torch.cat([plain((0.5, 0.5, 0.5)), torch.rand(3, 3, 32, 32)]))
    for embeddings in (texts, images):
        assert torch.allclose(embeddings.norm(dim=-1), torch.ones(4), atol=1e-5)
    assert torch.allclose(texts[1], images[0], atol=1e-6)  # A sentence without colours is grey.


def test_several_colours_are_their_mean_and_words_are_whole_and_of_any_case() -> None:
    guidance = ToyGuidance()
    mixed, red, hidden, grey = guidance.encode_text(["a RED and blue ball", "red", "a hundred balls", "a ball"])
    expected = functional.normalize(torch.tensor([0.0, -0.5, 0.0, 0.1]), dim=0)
    assert torch.allclose(mixed, expected, atol=1e-6)
    assert torch.equal(hidden, grey)
    assert not torch.equal(red, grey)


def test_only_the_middle_of_an_image_counts() -> None:
    guidance = ToyGuidance()
    framed = plain((0.0, 1.0, 0.0)).clone()
    framed[..., 8:24, 8:24] = plain((1.0, 0.0, 0.0), 16)
    assert torch.equal(guidance.encode_image(framed), guidance.encode_image(plain((1.0, 0.0, 0.0))))


def test_following_the_gradient_raises_the_score() -> None:
    guidance = ToyGuidance()
    wanted = guidance.encode_text(["a purple ball"])[0]
    image = plain((0.5, 0.5, 0.5)).clone().requires_grad_()
    score = guidance.score(image, wanted)
    score.sum().backward()
    assert image.grad is not None
    followed = (image + 10.0 * image.grad).detach()
    assert guidance.score(followed, wanted) > score
    assert image.grad[0, 1].sum() < 0.0 < image.grad[0, 2].sum()


def test_scores_are_cosines_with_the_sentence() -> None:
    guidance, images = ToyGuidance(), torch.rand(3, 3, 32, 32)
    red, blue = guidance.encode_text(["red", "blue"])
    for text in (red, blue):
        expected = functional.cosine_similarity(guidance.encode_image(images), text[None])
        assert torch.allclose(guidance.score(images, text), expected, atol=1e-6)


def test_several_wordings_share_one_direction() -> None:
    direction = mean_direction(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert direction.tolist() == pytest.approx([0.5**0.5] * 2)
