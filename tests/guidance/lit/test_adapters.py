"""Adapters: their networks, their files, and how they guide; everything here is trained on nothing."""

import dataclasses
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from dreamfields.errors import MissingPackageError, UsageError
from dreamfields.evaluate.judges import load_judge
from dreamfields.guidance.base import Sides, side_score
from dreamfields.guidance.ensemble import check_weights, load_guides
from dreamfields.guidance.lit import load, weights
from dreamfields.guidance.lit.adapters import (
    COVERED,
    NAMED_FROM,
    AdaptedGuidance,
    Adapters,
    Projection,
    adapters_bytes,
    closed_form_weight,
    packaged_adapters,
    read_adapters,
)
from dreamfields.guidance.lit.frozen import plain_activations
from dreamfields.guidance.lit.towers import class_names
from dreamfields.guidance.lit.weights import LITE0, AdapterSource
from dreamfields.guidance.prompt_embeddings import PromptEmbeddings, textureless_embeddings
from dreamfields.guidance.settings import GuidanceSettings, Mode
from tests.guidance.conftest import SIZE, Lit
from tests.guidance.lit.test_closed_form import PHOTOGRAPHS, photograph

CPU = torch.device("cpu")
ABOUT = {"adapters": '{"format": "1", "tower": "lite0"}'}


def untrained(tower: str, inputs: int) -> Adapters:
    return Adapters(tower, Projection(inputs, 8, 6), Projection(384, 8, 6)).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def guides(lit: Lit) -> dict[str, AdaptedGuidance]:
    closed = lit.guides[0]
    torch.manual_seed(0)
    adapters = untrained("lite0", closed.tower.width)
    return {name: AdaptedGuidance(closed, adapters, name == "both") for name in ("adapters", "both")}


def saved(folder: Path, tower: str, inputs: int) -> Path:
    path = folder / f"{tower}.safetensors"
    path.write_bytes(adapters_bytes(untrained(tower, inputs), {}))
    return path


def test_a_projection_leads_to_unit_vectors_of_standardised_inputs() -> None:
    samples = 3.0 + 5.0 * torch.randn(200, 7)
    samples[:, 0] = 4.0
    projection = Projection(7, 8, 5)
    projection.standardise(samples)
    standard = (samples - projection.mean) / projection.deviation
    assert torch.allclose(standard.mean(dim=0), torch.zeros(7), atol=1e-4)
    assert torch.allclose(standard.std(dim=0)[1:], torch.ones(6), atol=1e-4)
    assert torch.allclose(projection(samples).norm(dim=-1), torch.ones(200), atol=1e-5)
    assert torch.isfinite(projection(samples + 1.0)).all()  # Even for what never varied.


def test_dropout_is_for_training_only() -> None:
    projection = Projection(7, 8, 5, dropout=(0.5, 0.5))
    inputs = torch.randn(3, 7)
    assert not torch.equal(projection(inputs), projection(inputs))
    projection.eval()
    assert torch.equal(projection(inputs), projection(inputs))


def test_a_file_gives_back_the_adapters_at_half_precision(tmp_path: Path) -> None:
    adapters = untrained("lite2", 9)
    path = tmp_path / "a.safetensors"
    path.write_bytes(adapters_bytes(adapters, {"sets": "some"}))
    read = read_adapters(path)
    assert read.tower == "lite2"
    assert not any(parameter.requires_grad for parameter in read.parameters())
    for name, value in adapters.state_dict().items():
        assert torch.equal(read.state_dict()[name], value.half().float()), name
    assert read_adapters(path).identity != read_adapters(saved(tmp_path, "lite0", 9)).identity


def test_every_truncation_of_a_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    whole = saved(tmp_path, "lite0", 9).read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [*range(0, 40), *range(40, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(MissingPackageError) as caught:
            read_adapters(path)
        assert str(path) in str(caught.value)
        assert "lit train" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 not safetensors",
        safetensors.torch.save({"x": torch.zeros(1)}),
        safetensors.torch.save({"x": torch.zeros(1)}, ABOUT),
        safetensors.torch.save(untrained("lite0", 9).state_dict(), {"adapters": '{"format": "99", "tower": "lite0"}'}),
        safetensors.torch.save({n: v * torch.nan for n, v in untrained("lite0", 9).state_dict().items()}, ABOUT),
        safetensors.torch.save(
            {**untrained("lite0", 9).state_dict(), "text.leave.weight": torch.zeros(3, 3)},
            ABOUT,
        ),
    ],
)
def test_what_holds_no_adapters_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(MissingPackageError, match="holds no adapters"):
        read_adapters(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPackageError, match=r"none\.safetensors cannot be read"):
        read_adapters(tmp_path / "none.safetensors")


@pytest.mark.parametrize("source", [*weights.GUIDING_ADAPTERS, weights.JUDGE_ADAPTERS], ids=lambda s: s.tower.name)
def test_the_shipped_adapters_are_the_recorded_ones_and_small(source: AdapterSource) -> None:
    path = source.path()
    assert path.stat().st_size <= 8_000_000
    adapters = read_adapters(path)
    assert adapters.tower == source.tower.name


def test_a_flipped_bit_or_a_missing_file_of_the_package_is_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = weights.GUIDING_ADAPTERS[0]
    content = bytearray(source.path().read_bytes())
    content[len(content) // 2] ^= 1
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "weights.py"))
    with pytest.raises(MissingPackageError, match=r"missing; run: pip install .* --guidance\.mode closed-form"):
        source.path()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / source.file).write_bytes(content)
    with pytest.raises(MissingPackageError, match="damaged or not the recorded"):
        source.path()


def test_closed_form_needs_no_adapters_and_the_other_modes_report_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = tuple(AdapterSource(source.tower, "gone.safetensors", "") for source in weights.GUIDING_ADAPTERS)
    monkeypatch.setattr(weights, "GUIDING_ADAPTERS", gone)
    monkeypatch.setattr(load, "GUIDING_ADAPTERS", gone)
    check_weights(GuidanceSettings(mode="closed-form"))
    guides = load_guides(GuidanceSettings(mode="closed-form", image_size=SIZE), CPU)
    assert [guide.guidance.name for guide in guides] == ["lit-lite0", "lit-lite2"]
    for settings in (GuidanceSettings(mode="both"), GuidanceSettings(mode="adapters")):
        with pytest.raises(MissingPackageError, match=r"gone\.safetensors is missing"):
            check_weights(settings)
    with pytest.raises(MissingPackageError, match=r"no adapters mine\.safetensors"):
        check_weights(GuidanceSettings(mode="both", adapters=("mine.safetensors",)))


def test_files_of_ones_own_guide_the_towers_they_belong_to(tmp_path: Path, lit: Lit) -> None:
    path = saved(tmp_path, "lite0", lit.guides[0].tower.width)
    settings = GuidanceSettings(mode="adapters", adapters=(str(path),), image_size=SIZE)
    check_weights(settings)
    (guide,) = load_guides(settings, CPU)
    assert (guide.guidance.name, guide.weight) == ("lit-lite0", 1.0)
    assert guide.guidance.identity == read_adapters(path).identity
    with pytest.raises(UsageError, match="one file a tower"):
        load_guides(dataclasses.replace(settings, adapters=(str(path), str(path))), CPU)


def test_adapters_of_the_judge_never_guide(tmp_path: Path) -> None:
    path = saved(tmp_path, "lite1", 9)
    with pytest.raises(UsageError, match="only judges and never guides"):
        load_guides(GuidanceSettings(mode="both", adapters=(str(path),)), CPU)


def test_adapters_of_another_width_than_their_tower_are_refused(lit: Lit) -> None:
    with pytest.raises(MissingPackageError, match=r"take 9 numbers an image, but the tower gives 2096"):
        AdaptedGuidance(lit.guides[0], untrained("lite0", 9), both=False)


@pytest.mark.parametrize("mode", ["adapters", "both"])
def test_embeddings_are_unit_vectors_of_one_space(
    mode: str, guides: dict[str, AdaptedGuidance], images: Tensor
) -> None:
    texts, images = guides[mode].encode_text(["a red teapot", "justice"]), guides[mode].encode_image(images)
    assert texts.shape[1] == images.shape[1]
    assert torch.allclose(texts.norm(dim=-1), torch.ones(2), atol=1e-5)
    assert torch.allclose(images.norm(dim=-1), torch.ones(2), atol=1e-5)


def test_the_score_is_a_tenth_of_the_margin_and_both_the_mean_with_the_closed_form(
    guides: dict[str, AdaptedGuidance], images: Tensor
) -> None:
    alone, both, sentence = guides["adapters"], guides["both"], "a photo of a red teapot"
    closed, scale = alone.closed_form, alone.adapters.scale
    seen, text = alone.encode_image(images), alone.encode_text([sentence])[0]
    classes = alone.adapters.text(closed.class_sentences)
    logits = scale * seen @ classes.T + torch.log(1.0 - (classes @ text).clamp(0.0, 0.999))
    for sharpness, others in ((0.0, logits.mean(dim=1)), (1.0, logits.exp().mean(dim=1).log())):
        margin = 0.1 * (scale * seen @ text - others)
        assert torch.allclose(alone.score(images, text, sharpness), margin, atol=1e-4)
        expected = 0.5 * (margin + closed.score(images, closed.encode_text([sentence])[0], sharpness))
        assert torch.allclose(both.score(images, both.encode_text([sentence])[0], sharpness), expected, atol=1e-4)


def test_what_says_the_same_is_no_rival(guides: dict[str, AdaptedGuidance], images: Tensor) -> None:
    alone = guides["adapters"]
    index = class_names().index("teapot")
    teapot = alone.class_texts[index]
    logits = alone.adapters.scale * alone.encode_image(images) @ alone.class_texts.T
    counted = alone._class_logits(alone.encode_image(images), teapot)
    assert torch.allclose(counted[:, index], logits[:, index] + math.log(1e-3), atol=1e-2)
    assert (counted <= logits + 1e-4).all()


def test_sides_are_told_by_the_adapters_alone(guides: dict[str, AdaptedGuidance], images: Tensor) -> None:
    for name, sentence in (
        ("adapters", "a chair"),
        ("both", "a photo of a red chair"),
        ("both", "a photo of a throne"),
    ):
        guide = guides[name]
        text, seen = guide.encode_text([sentence])[0], torch.tensor([[0.25, 0.0, 0.75], [0.0, 0.0, 0.0]])
        sides = Sides(guide.encode_sides("a chair."), seen, 2.0)
        views = ["front view of a chair", "side view of a chair", "back view of a chair"]
        told = guides["adapters"].encode_text(views)
        logits = guide.adapters.scale * guides["adapters"].encode_image(images) @ told.T
        score, added = guide.sided_score(images, text, sides, 0.5)
        assert torch.allclose(score, guide.score(images, text, 0.5), atol=1e-4)
        assert torch.allclose(added, 0.2 * side_score(logits, seen), atol=1e-4)
        assert added[0] < added[1] == 0.0


def test_the_closed_form_knows_no_sides(lit: Lit, images: Tensor) -> None:
    closed = lit.guides[0]
    text = closed.encode_text(["a throne"])[0]
    sides = Sides(closed.encode_sides("a throne"), torch.tensor([[1.0, 0.0, 0.0]] * len(images)), 1.0)
    score, added = closed.sided_score(images, text, sides)
    assert torch.equal(score, closed.score(images, text))
    assert not added.any()


def test_what_no_class_is_near_to_is_left_to_the_adapters(
    guides: dict[str, AdaptedGuidance], images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, both = guides["adapters"], guides["both"]
    monkeypatch.setattr(both.closed_form, "score_features", lambda *_: pytest.fail("the closed form was asked"))
    sentence = ["a photo of a snowman with a carrot nose and a red scarf"]
    scores = both.score(images, both.encode_text(sentence)[0], 0.5)
    assert torch.allclose(scores, alone.score(images, alone.encode_text(sentence)[0], 0.5), atol=1e-4)


def test_the_name_of_a_class_is_left_to_the_closed_form(
    guides: dict[str, AdaptedGuidance], images: Tensor, lit: Lit, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, closed = guides["both"], lit.guides[0]
    monkeypatch.setattr(both.adapters.image, "forward", lambda _: pytest.fail("the adapters were asked"))
    named = both.score(images, both.encode_text(["a photo of a school bus"])[0])
    assert torch.allclose(named, closed.score(images, closed.encode_text(["a photo of a school bus"])[0]), atol=1e-5)
    low, high = COVERED
    nearness = torch.tensor([-1.0, low, 0.5 * (low + high), high, NAMED_FROM, 0.5 * (NAMED_FROM + 1.0), 1.0])
    assert torch.allclose(closed_form_weight(nearness), torch.tensor([0.0, 0.0, 0.25, 0.5, 0.5, 0.75, 1.0]), atol=1e-6)


def test_textureless_images_are_scored_where_adapters_have_weight(guides: dict[str, AdaptedGuidance], lit: Lit) -> None:
    sentence, name = "a photo of a red teapot on a table", "a photo of a school bus"
    for guide, sentence_is_read, name_is_read in (
        (guides["adapters"], True, True),
        (guides["both"], True, False),
        (lit.guides[0], False, False),
    ):
        of_sentence, of_name = guide.encode_text([sentence, name])
        assert (guide.textureless_embedding(of_sentence) is not None) is sentence_is_read
        assert (guide.textureless_embedding(of_name) is not None) is name_is_read


def test_a_textureless_shape_is_scored_by_the_adapters_alone(
    guides: dict[str, AdaptedGuidance], images: Tensor
) -> None:
    sentence, paraphrase = "a photo of a red teapot on a table", "a red teapot which stands on a table"
    alone, both = guides["adapters"], guides["both"]
    rows = torch.stack([both.encode_text([sentence]), both.encode_text([paraphrase])])
    shapes = textureless_embeddings(both, PromptEmbeddings(rows))
    assert shapes is not None
    for (of_shape,), text in zip(shapes.table, (sentence, paraphrase), strict=True):
        assert torch.allclose(of_shape.norm(), torch.tensor(1.0), atol=1e-6)
        assert torch.allclose(
            both.score(images, of_shape), alone.score(images, alone.encode_text([text])[0]), atol=1e-5
        )
    with_a_name = torch.cat([rows, both.encode_text(["a photo of a school bus"])[None]])
    assert textureless_embeddings(both, PromptEmbeddings(with_a_name)) is None


@pytest.mark.parametrize("mode", ["adapters", "both"])
def test_following_the_gradient_raises_the_score_of_the_shipped_adapters(mode: str, lit: Lit) -> None:
    trained = packaged_adapters(weights.GUIDING_ADAPTERS[0])
    guide = AdaptedGuidance(lit.guides[0], trained, mode == "both")
    wanted = guide.encode_text(["a teapot"])[0]
    # Not a flat image: there, filters for edges sit at the kink of their ReLU, and a gradient means nothing.
    image = photograph("chelsea.png", SIZE).requires_grad_()
    score = guide.score(image, wanted).sum()
    score.backward()
    assert image.grad is not None
    with torch.no_grad():
        assert guide.score(image + 0.002 * image.grad.sign(), wanted).sum() > score


def test_levels_are_the_means_along_the_way_and_their_gradient_is_autograds(lit: Lit, images: Tensor) -> None:
    tower = lit.guides[0].tower
    features, levels = tower.levels(images)
    assert torch.allclose(features, tower.features(images), atol=1e-5)
    assert features.shape[1] + levels.shape[1] == tower.width
    images = images.clone().requires_grad_()
    (fast,) = torch.autograd.grad(tower.levels(images)[1].square().sum(), images)
    means, turned = [], (images * 255.0 - 127.0) / 128.0
    for part in tower.network.parts():
        # The reference turns images round on their way in.
        turned = plain_activations(part, turned).flip(2, 3)
        means.append(turned.mean(dim=(2, 3)))
    assert torch.allclose(torch.cat(means[:-1], dim=-1), levels, atol=1e-4)
    (slow,) = torch.autograd.grad(torch.cat(means[:-1], dim=-1).square().sum(), images)
    assert torch.allclose(fast, slow, rtol=1e-3, atol=1e-3 * float(slow.abs().max()))


def test_words_beyond_the_text_towers_tokens_are_named(lit: Lit) -> None:
    guide = lit.guides[0]
    assert guide.unread_words("a red teapot") == ()
    words = [f"pot{index}" for index in range(300)]
    unread = guide.unread_words(" ".join(words))
    assert 0 < len(unread) < 300
    assert words[-len(unread) :] == list(unread)
    assert guide.unread_words(" ".join(words[: -len(unread)])) == ()
    cut = " ".join([*words[: -len(unread)], "and", "quite", "other", "words", *words])
    read = torch.allclose(guide.sentences.encode([cut]), guide.sentences.encode([cut + " more"]), atol=1e-6)
    assert read  # What is named as unread has no effect.


def test_the_sources_name_the_towers_they_belong_to() -> None:
    assert [source.tower for source in weights.GUIDING_ADAPTERS] == list(weights.GUIDING_TOWERS)
    assert weights.JUDGE_ADAPTERS.tower == weights.JUDGE_TOWER
    assert LITE0 in weights.GUIDING_TOWERS


@pytest.mark.parametrize("mode", ["adapters", "both"])
def test_photographs_match_what_they_show_in_every_mode(mode: Mode) -> None:
    size = GuidanceSettings().image_size
    images = torch.cat([photograph(name, size) for name in PHOTOGRAPHS])
    totals = torch.zeros(len(images), len(PHOTOGRAPHS))
    with torch.no_grad():
        for member in load_guides(GuidanceSettings(mode=mode, image_size=size), CPU):
            texts = member.guidance.encode_text([f"a photo of {shown}" for shown in PHOTOGRAPHS.values()])
            totals += torch.stack([member.guidance.score(images, text) for text in texts], dim=-1)
    right = list(range(len(images)))
    assert totals.argmax(dim=0).tolist() == right, totals  # Each sentence's best image.


def test_the_judge_reads_sentences_and_is_not_among_the_guides() -> None:
    judge = load_judge("lit", CPU, "adapters")
    assert judge.name == "lit-lite1"
    images = torch.cat([photograph(name, 240) for name in PHOTOGRAPHS])
    with torch.no_grad():
        scores = (
            judge.encode_text([f"a photo of {shown}" for shown in PHOTOGRAPHS.values()]) @ judge.encode_image(images).T
        )
    assert scores.argmax(dim=1).tolist() == list(range(len(images))), scores
    guiding = load_guides(GuidanceSettings(mode="adapters", image_size=SIZE), CPU)
    assert judge.name not in [guide.guidance.name for guide in guiding]


def test_words_in_other_scripts_are_named(lit: Lit) -> None:
    guide = lit.guides[0]
    assert guide.unknown_words("a red 茶壶 teapot") == ("茶壶",)
    assert guide.unknown_words("a red teapot") == ()


def test_the_packaged_adapters_are_asked_for_the_sides_of_things_with_a_front(lit: Lit, tmp_path: Path) -> None:
    guides = [guide.guidance for guide in load_guides(GuidanceSettings(), CPU)]
    for guide in guides:
        assert all(guide.has_front(prompt) for prompt in ("a cat", "a horse", "an armchair", "a robot", "a giraffe."))
        assert not any(guide.has_front(prompt) for prompt in ("a teapot", "a tree", "a banana", "a round table"))
    # The names of classes are left to the closed form, unless the run began as a shape or adapters guide alone.
    assert not any(guide.has_front("a teddy bear") or guide.has_front("a school bus") for guide in guides)
    assert all(guide.has_front("a teddy bear", from_shape=True) for guide in guides)
    assert not any(guide.has_front("a teapot", from_shape=True) for guide in guides)
    alone = load_guides(GuidanceSettings(mode="adapters"), CPU)
    assert all(guide.guidance.has_front("a teddy bear") for guide in alone)
    closed = load_guides(GuidanceSettings(mode="closed-form"), CPU)
    assert not any(guide.guidance.has_front("a cat") for guide in closed)
    # Whether other adapters can tell sides is not known.
    path = saved(tmp_path, "lite0", lit.guides[0].tower.width)
    (own,) = load_guides(GuidanceSettings(adapters=(str(path),)), CPU)
    assert not own.guidance.has_front("a cat")
