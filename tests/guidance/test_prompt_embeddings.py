"""Embeddings of prompts, with every guidance: paraphrases, azimuths, styles, negative and geometry prompts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.guidance.base import TOLD, AbstractGuidance, Sides, mean_direction, side_score
from dreamfields.guidance.clip.model import load_clip
from dreamfields.guidance.ensemble import Member
from dreamfields.guidance.lit.adapters import AdaptedGuidance, packaged_adapters
from dreamfields.guidance.lit.closed_form import Bridge
from dreamfields.guidance.lit.weights import GUIDING_ADAPTERS
from dreamfields.guidance.prompt_embeddings import (
    PromptEmbeddings,
    all_sentences,
    asks_for_sides,
    embed_prompts,
    geometry_sentences,
    orthogonal_part,
    prompt_sentences,
    push_away,
    with_sides,
)
from dreamfields.guidance.prompts import LONGEST, fill_wordings
from dreamfields.guidance.settings import PromptSettings
from dreamfields.guidance.toy import ToyGuidance
from tests.guidance.conftest import SIZE, Lit
from tests.support.clips import make_folder

TEMPLATE = "a photo of {}|{}, seen closely"
SIDES = ("front:{}, front view", "side:{}, side view", "back:{}, back view")
ALL = PromptSettings(
    negative_prompt="a green table",
    paraphrases=("a big red ball", "the ball"),
    azimuth_prompts=SIDES,
    geometry_prompt="a ball",
    style="wooden",
)
GUIDANCES = ("toy", "clip", "classes", "features", "both bridges", "adapters", "both")
_BRIDGES: dict[str, Bridge] = {"classes": "classes", "features": "features", "both bridges": "both"}


@pytest.fixture(scope="module", params=GUIDANCES)
def guidance(
    request: pytest.FixtureRequest,
    lit: Lit,
    bridged: Callable[[Bridge], AbstractGuidance],
    tmp_path_factory: pytest.TempPathFactory,
) -> AbstractGuidance:
    """Return each guidance there is, in each of its modes."""
    match request.param:
        case "toy":
            return ToyGuidance()
        case "clip":
            return load_clip(Member("clip", str(make_folder(tmp_path_factory.mktemp("models") / "clip"))), "fp32")
        case "adapters" | "both":
            trained = packaged_adapters(GUIDING_ADAPTERS[0])
            return AdaptedGuidance(lit.guides[0], trained, both=request.param == "both")
        case name:
            return bridged(_BRIDGES[name])


def embeddings(guidance: AbstractGuidance, prompts: PromptSettings, prompt: str = "a red ball") -> PromptEmbeddings:
    return embed_prompts(guidance, TEMPLATE, prompt_sentences(prompt, prompts), prompts)


def unit(*shape: int) -> Tensor:
    draws = torch.Generator().manual_seed(len(shape))
    return torch.nn.functional.normalize(torch.randn(shape, generator=draws, dtype=torch.float64), dim=-1)


def test_the_orthogonal_part_is_orthogonal_and_the_rest_is_parallel() -> None:
    prompts, negative = unit(3, 4, 16), unit(1, 16)[0]
    apart = orthogonal_part(negative, prompts)
    assert (apart * prompts).sum(dim=-1).abs().max() < 1e-12
    along = negative - apart
    assert torch.allclose(along, (along * prompts).sum(dim=-1, keepdim=True) * prompts)


def test_pushing_away_stays_near_the_prompt_and_reduces_the_orthogonal_part() -> None:
    prompts, negative = unit(3, 4, 16), unit(1, 16)[0]
    apart = orthogonal_part(negative, prompts)
    before = torch.zeros(3, 4, dtype=torch.float64)
    for weight in (0.1, 0.5, 2.0):
        pushed = push_away(prompts, negative, weight)
        assert torch.allclose(pushed.norm(dim=-1), torch.ones(3, 4, dtype=torch.float64))
        length = (1.0 + (weight * apart.norm(dim=-1)) ** 2).sqrt()
        assert torch.allclose((pushed * prompts).sum(dim=-1), 1.0 / length)
        now = (pushed * apart).sum(dim=-1)
        assert bool((now < before).all())
        before = now


def test_a_negative_equal_to_the_prompt_changes_nothing() -> None:
    (prompt,) = unit(1, 16)
    assert torch.allclose(push_away(prompt[None], prompt, 5.0), prompt[None])


def test_by_default_the_embedding_is_that_of_the_prompt_alone_bit_for_bit(guidance: AbstractGuidance) -> None:
    found = embeddings(guidance, PromptSettings())
    expected = mean_direction(guidance.encode_text(fill_wordings(TEMPLATE, "a red ball")))
    assert found.table.shape == (1, 1, len(expected))
    for azimuths in ([], [0.0], [10.0, 200.0]):
        (towards,) = found.towards(0, azimuths)
        assert torch.equal(towards, expected)


def test_a_negative_of_weight_0_changes_nothing_and_one_with_weight_pushes_away(guidance: AbstractGuidance) -> None:
    prompts = PromptSettings(negative_prompt="a green table", negative_weight=0.0)
    plain, weightless = embeddings(guidance, PromptSettings()), embeddings(guidance, prompts)
    assert torch.equal(plain.table, weightless.table)
    pushed = embeddings(guidance, replace(prompts, negative_weight=1.0))
    negative = mean_direction(guidance.encode_text(fill_wordings(TEMPLATE, "a green table")))
    assert float(pushed.table[0, 0] @ negative) < float(plain.table[0, 0] @ negative)
    assert float(pushed.table[0, 0] @ plain.table[0, 0]) > 0.5


def test_everything_at_once_is_unit_vectors_that_score_images(guidance: AbstractGuidance) -> None:
    found = embeddings(guidance, ALL)
    assert found.table.shape[:2] == (3, 4)
    assert found.anchors_deg == (0.0, 90.0, 180.0, 270.0)
    images = torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    for paraphrase in range(found.paraphrases):
        for towards in found.towards(paraphrase, [0.0, 30.0, 200.0]):
            assert float(towards.norm()) == pytest.approx(1.0, abs=1e-5)
            scores = guidance.score(images, towards)
            assert scores.shape == (2,)
            assert bool(scores.isfinite().all())


def test_a_style_is_what_writing_it_into_the_prompt_is(guidance: AbstractGuidance) -> None:
    styled = embeddings(guidance, PromptSettings(style="wooden", azimuth_prompts=SIDES), "a ball.")
    written = embeddings(guidance, PromptSettings(azimuth_prompts=SIDES), "a ball, wooden")
    assert torch.equal(styled.table, written.table)


def test_between_two_wordings_the_direction_turns_from_one_to_the_other() -> None:
    table = torch.eye(4)[None]
    found = PromptEmbeddings(table, (0.0, 90.0, 180.0, 270.0))
    front, between, side = found.towards(0, [0.0, 45.0, 90.0])
    assert torch.allclose(front, table[0, 0], atol=1e-6)
    assert torch.allclose(side, table[0, 1], atol=1e-6)
    assert torch.allclose(between, torch.tensor([0.5, 0.5, 0.0, 0.0]).sqrt(), atol=1e-6)


def test_a_view_between_two_sides_must_show_half_of_each(guidance: AbstractGuidance) -> None:
    plain = embeddings(guidance, PromptSettings())
    found = with_sides(plain, guidance, "a red ball.", PromptSettings(sides="always", side_weight=0.7))
    assert with_sides(plain, guidance, "a red ball.", PromptSettings(sides="never")) is plain
    assert torch.equal(found.towards(0, [0.0, 45.0, 540.0])[0], plain.table[0, 0])
    assert plain.sides_towards([0.0]) is None
    sides = found.sides_towards([0.0, 45.0, 540.0])
    assert sides is not None
    assert sides.weight == 0.7
    assert torch.allclose(sides.seen, torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), atol=1e-6)
    assert torch.equal(sides.directions, guidance.encode_sides("a red ball."))
    assert torch.equal(sides.of(slice(1, None)).seen, sides.seen[1:])


def test_sides_are_told_by_sentences_of_their_own() -> None:
    sentences = ["front view of a red ball", "side view of a red ball", "back view of a red ball"]
    toy = ToyGuidance()
    assert torch.equal(toy.encode_sides("a red ball."), toy.encode_text(sentences))


def test_sides_are_asked_of_what_has_a_front_unless_the_user_says_otherwise() -> None:
    class Knowing(ToyGuidance):  # type: ignore[misc]  # It is final, but here only asked.
        def has_front(self, prompt: str, *, from_shape: bool = False) -> bool:
            return prompt == "a cat" or (from_shape and prompt == "a bear")

    assert asks_for_sides(Knowing(), "a bear", PromptSettings(), from_shape=True)
    assert not asks_for_sides(Knowing(), "a bear", PromptSettings())

    def asked(prompt: str, **settings: Any) -> bool:
        return asks_for_sides(Knowing(), prompt, PromptSettings(**settings))

    assert (asked("a cat"), asked("a ball")) == (True, False)
    assert (asked("a ball", sides="always"), asked("a cat", sides="never")) == (True, False)
    wordings = ("front:{}, red", "back:{}, blue")
    assert (asked("a cat", azimuth_prompts=wordings), asked("a cat", azimuth_prompts=wordings, sides="always")) == (
        False,
        True,
    )
    assert not asks_for_sides(ToyGuidance(), "a cat", PromptSettings())


def test_the_score_of_sides_is_minus_the_divergence() -> None:
    front = torch.tensor([[1.0, 0.0, 0.0]])
    logits = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    alike, right, wrong = side_score(logits, front).tolist()
    assert alike == pytest.approx(-math.log(3.0))
    assert wrong < alike < right == -TOLD
    # Where no side is asked for, none counts, and what all sides have in common says nothing of any.
    assert torch.equal(side_score(logits, 0.0 * front), torch.zeros(3))
    assert torch.allclose(side_score(logits + 5.0, front), side_score(logits, front))
    # Between two sides, the best that can be seen is as much of each: no divergence, so it counts as told.
    between = torch.tensor([[0.5, 0.5, 0.0]])
    half, one = side_score(torch.tensor([[9.0, 9.0, 0.0], [9.0, 0.0, 0.0]]), between).tolist()
    assert (half, one) == (-TOLD, pytest.approx(math.log(2.0) - 0.5 * 9.0, abs=1e-3))


def test_a_side_that_is_told_well_enough_pulls_no_more() -> None:
    front = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.5, 0.0, 0.0]], requires_grad=True)
    side_score(logits, front).sum().backward()
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1, 0] > 0.0


def test_sides_add_to_the_score_of_a_sentence() -> None:
    toy, images = ToyGuidance(), torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    sentence, *sides = toy.encode_text(["a red ball", "a red ball", "a blue ball", "a green ball"])
    asked = Sides(torch.stack(sides), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), 0.5)
    logits = 100.0 * toy.encode_image(images) @ asked.directions.T
    score, told = toy.sided_score(images, sentence, asked)
    assert torch.allclose(score, toy.score(images, sentence), atol=1e-6)
    expected = 0.005 * side_score(logits, asked.seen)
    assert expected[0] < -0.005 * TOLD
    assert torch.allclose(told, expected, atol=1e-6)


def test_sentences_are_the_prompt_with_its_style_from_each_side() -> None:
    assert prompt_sentences("a cat", PromptSettings()) == (("a cat",),)
    assert prompt_sentences("a cat.", replace(ALL, azimuth_prompts=SIDES[:1], paraphrases=("a {} kitten",))) == (
        ("a cat, wooden, front view",),
        ("a {} kitten, wooden, front view",),
    )
    assert geometry_sentences(PromptSettings()) == ()
    assert geometry_sentences(replace(ALL, azimuth_prompts=SIDES[::2])) == (
        ("a ball, front view", "a ball, back view"),
    )


def test_every_sentence_that_is_put_to_a_guide_is_known_beforehand() -> None:
    class Recording(ToyGuidance):  # type: ignore[misc]  # It is final, but here only listened to.
        heard: tuple[str, ...] = ()

        def encode_text(self, sentences: Sequence[str]) -> Tensor:
            self.heard += tuple(sentences)
            return super().encode_text(sentences)

    guidance = Recording()
    for rows in (prompt_sentences("a red ball", ALL), geometry_sentences(ALL)):
        embeddings = embed_prompts(guidance, TEMPLATE, rows, ALL)
    with_sides(embeddings, guidance, "a red ball", replace(ALL, sides="always"))
    assert set(guidance.heard) == set(all_sentences(TEMPLATE, "a red ball", ALL, sides=True))
    assert set(all_sentences(TEMPLATE, "a red ball", ALL, sides=False)) < set(guidance.heard)
    assert all_sentences("a photo of {}", "x", PromptSettings(), sides=False) == ["a photo of x"]


def test_texts_are_kept_in_the_form_of_prompts() -> None:
    prompts = PromptSettings(negative_prompt=" a\n cat ", paraphrases=("  b ",), azimuth_prompts=("front: {}\t x",))
    assert (prompts.negative_prompt, prompts.paraphrases) == ("a cat", ("b",))
    assert prompts.azimuth_prompts == ("front: {} x",)
    assert PromptSettings.from_json(prompts.to_json()) == prompts


@pytest.mark.parametrize("name", ["negative_prompt", "geometry_prompt", "style"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \n", "holds a text with nothing to read in it; leave it out"),
        ("a\0", "holds a character that is not text; type it again in plain letters"),
        ("x" * (LONGEST + 1), f"has {LONGEST + 1} characters; at most {LONGEST} are allowed, so shorten it"),
    ],
)
def test_a_text_that_is_no_prompt_is_refused_by_name(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^{name} {said}$"):
        PromptSettings(**{name: text})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"^paraphrases {said}$"):
        PromptSettings(paraphrases=("fine", text))


def test_more_than_a_checkpoint_could_say_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^paraphrases holds 101 texts; at most 100 are allowed$"):
        PromptSettings(paraphrases=("a",) * 101)
    with pytest.raises(UsageError, match=r"^paraphrases, style have 20001 characters together; at most 20000 are"):
        PromptSettings(paraphrases=("x" * LONGEST,) * 10, style="x")


def test_every_fault_is_said_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        PromptSettings(
            negative_prompt="\0",
            negative_weight=-1.0,
            paraphrases=("",),
            azimuth_prompts=("here",),
            geometry_weight=-1.0,
            style=3,  # type: ignore[arg-type]
        )
    names = ("negative_prompt", "negative_weight", "paraphrases", "azimuth_prompts", "geometry_weight", "style")
    assert all(f"{name} " in str(caught.value) for name in names)
