"""CLIP guidance: the model's own embeddings, normalised, with gradients; and the words that it truncates."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from dreamfields.errors import DreamfieldsError, MissingPackageError, UsageError
from dreamfields.guidance.clip.model import ClipGuidance, load_clip
from dreamfields.guidance.clip.preprocess import CLIP_PREPROCESSING, Preprocessing
from dreamfields.guidance.ensemble import Member, load_guides
from dreamfields.guidance.settings import GuidanceSettings, Precision
from tests.support.clips import LONGEST, SHAPES, SIDE, make_folder, tiny_tokenizer

SENTENCES = ["a photo of a red ball", "a teapot", "the big wooden table on a table"]
of_every_shape = pytest.mark.parametrize("shape", SHAPES)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("models")

    def folder(shape: str) -> Path:
        return root / shape if (root / shape).exists() else make_folder(root / shape, shape)

    return folder


@pytest.fixture(scope="session")
def clip(folders: Callable[[str], Path]) -> Callable[..., ClipGuidance]:
    made: dict[tuple[str, str], ClipGuidance] = {}

    def guidance(shape: str, precision: Precision = "fp32") -> ClipGuidance:
        if (shape, precision) not in made:
            made[shape, precision] = load_clip(Member("clip", str(folders(shape))), precision)
        return made[shape, precision]

    return guidance


def images(size: int = 24) -> Tensor:
    return torch.rand(3, 3, size, size)


def units(embeddings: Any) -> Tensor:
    assert isinstance(embeddings, Tensor)
    return torch.nn.functional.normalize(embeddings, dim=-1)


@of_every_shape
def test_images_are_embedded_as_the_model_does_it_itself(
    shape: str, clip: Callable[..., ClipGuidance], folders: Callable[[str], Path]
) -> None:
    guidance = clip(shape)
    _, processor = SHAPES[shape]()
    levels = torch.randint(0, 256, (3, 3, SIDE, SIDE)).to(torch.uint8)
    # Of the right size already, so that nothing is resized and nothing rounded.
    inputs = processor([np.asarray(one.permute(1, 2, 0)) for one in levels], return_tensors="pt")
    theirs = guidance.model.get_image_features(**inputs).pooler_output
    assert torch.allclose(guidance.encode_image(levels / 255.0), units(theirs), atol=2e-5)


@of_every_shape
def test_sentences_are_embedded_as_the_model_does_it_itself(shape: str, clip: Callable[..., ClipGuidance]) -> None:
    guidance = clip(shape)
    siglip = shape.startswith("siglip")
    for sentence in SENTENCES:
        padding: dict[str, Any] = {"padding": "max_length", "max_length": LONGEST, "truncation": True} if siglip else {}
        tokens = guidance.tokenizer(sentence, return_tensors="pt", **padding)
        if siglip:
            del tokens["attention_mask"]
        if shape != "lit":
            tokens.pop("token_type_ids", None)
        theirs = guidance.model.get_text_features(**tokens).pooler_output
        assert torch.allclose(guidance.encode_text([sentence]), units(theirs), atol=1e-5)


@of_every_shape
def test_embeddings_are_unit_long_and_scores_are_their_cosines(shape: str, clip: Callable[..., ClipGuidance]) -> None:
    guidance = clip(shape)
    embedded, texts = guidance.encode_image(images()), guidance.encode_text(SENTENCES)
    assert embedded.shape == texts.shape
    assert torch.allclose(embedded.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert torch.allclose(texts.norm(dim=-1), torch.ones(3), atol=1e-5)
    shown = images()
    expected = guidance.encode_image(shown) @ texts[0]
    for sharpness in (0.0, 1.0):
        assert torch.equal(guidance.score(shown, texts[0], sharpness), expected)


@of_every_shape
def test_a_sentence_is_embedded_the_same_in_any_company(shape: str, clip: Callable[..., ClipGuidance]) -> None:
    guidance = clip(shape)
    together = guidance.encode_text(SENTENCES)
    alone = torch.cat([guidance.encode_text([sentence]) for sentence in SENTENCES])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@of_every_shape
def test_gradients_reach_every_pixel_and_nothing_else(shape: str, clip: Callable[..., ClipGuidance]) -> None:
    guidance = clip(shape)
    shown = images().requires_grad_()
    guidance.score(shown, guidance.encode_text(SENTENCES[:1])[0]).sum().backward()
    assert shown.grad is not None
    assert torch.isfinite(shown.grad).all()
    assert (shown.grad.abs().amax(dim=1) > 0.0).float().mean() > 0.99
    assert not any(parameter.requires_grad for parameter in guidance.parameters())
    assert not guidance.training


def test_the_gradient_is_the_slope(clip: Callable[..., ClipGuidance]) -> None:
    guidance = clip("clip")
    wanted = guidance.encode_text(SENTENCES[:1])[0]
    shown, direction = 0.2 + 0.6 * images(SIDE)[:1], torch.randn(1, 3, SIDE, SIDE)
    shown.requires_grad_()
    (gradient,) = torch.autograd.grad(guidance.score(shown, wanted).sum(), shown)
    step = 1e-2
    with torch.no_grad():
        ahead, behind = (guidance.score(shown + sign * step * direction, wanted).sum() for sign in (1, -1))
    assert float((ahead - behind) / (2 * step)) == pytest.approx(
        float((gradient * direction).sum()), rel=0.05, abs=1e-4
    )


@of_every_shape
def test_half_precision_sees_nearly_the_same(shape: str, clip: Callable[..., ClipGuidance]) -> None:
    whole, half = clip(shape), clip(shape, "bf16")
    assert (whole.model.dtype, half.model.dtype) == (torch.float32, torch.bfloat16)
    shown = images()
    for ours, theirs in (
        (whole.encode_image(shown), half.encode_image(shown)),
        (whole.encode_text(SENTENCES), half.encode_text(SENTENCES)),
    ):
        assert theirs.dtype == torch.float32
        assert ((ours * theirs).sum(dim=-1) > 0.995).all()


@of_every_shape
def test_exactly_the_words_that_are_cut_off_do_not_matter_and_are_named(
    shape: str, clip: Callable[..., ClipGuidance]
) -> None:
    guidance = clip(shape)
    words = (["red", "ball", "on", "a", "big", "Table"] * 4)[: 2 * LONGEST]
    unread = guidance.unread_words(" ".join(words))
    kept = len(words) - len(unread)
    assert 0 < kept < len(words)
    assert unread == tuple(words[kept:])
    assert guidance.unread_words(" ".join(words[:kept])) == ()
    assert guidance.unread_words("") == ()
    if shape != "siglip2":  # Its words may be several tokens, and one may be cut in two.
        cut, other = (guidance.encode_text([" ".join([*words[:kept], *end])]) for end in (unread, ["teapot"] * 20))
        assert torch.allclose(cut, other, atol=1e-6)
        assert kept == LONGEST - 2


def test_capitals_are_nothing_to_a_siglip(clip: Callable[..., ClipGuidance]) -> None:
    for shape in ("siglip", "siglip2"):
        assert torch.equal(clip(shape).encode_text(["A Red BALL"]), clip(shape).encode_text(["a red ball"]))


def test_a_model_in_memory_guides_without_a_folder() -> None:
    model, _ = SHAPES["clip"]()
    preprocessing = Preprocessing(SIDE, CLIP_PREPROCESSING.mean, CLIP_PREPROCESSING.std, shortest_edge=SIDE)
    guidance = ClipGuidance(model, tiny_tokenizer(), preprocessing, name="random")
    assert (guidance.name, guidance.image_size, guidance.image_sizes, guidance.identity) == ("random", 16, (16,), "")
    assert guidance.score(images(), guidance.encode_text(["a ball"])[0]).shape == (3,)


def test_a_folder_is_loaded_by_every_member_with_its_weight_and_start(folders: Callable[[str], Path]) -> None:
    name = f"toy:2+clip:{folders('clip')}:0.5@0.25+clip:{folders('siglip')}"
    first, second, third = load_guides(GuidanceSettings(name=name, precision="bf16"), torch.device("cpu"))
    assert [guide.guidance.name for guide in (first, second, third)] == ["toy", "clip:clip", "clip:siglip"]
    assert [(guide.weight, guide.start) for guide in (first, second, third)] == [(2.0, 0.0), (0.5, 0.25), (1.0, 0.0)]
    assert isinstance(second.guidance, ClipGuidance)
    assert second.guidance.model.dtype == torch.bfloat16
    assert len({guide.guidance.identity for guide in (first, second, third)}) == 3


def rewritten(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def without_text_tower(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "text" not in name}
    safetensors.torch.save_file(kept, folder / "model.safetensors", {"format": "pt"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'echo read'\ntR.")


DAMAGES: dict[str, tuple[Callable[[Path], Any], type[DreamfieldsError], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), MissingPackageError, "holds no model (no config.json)"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), MissingPackageError, "holds no weights"),
    "no tokens": (lambda f: (f / "tokenizer.json").unlink(), MissingPackageError, "holds no tokenizer"),
    "pickle": (pickled, MissingPackageError, "pytorch_model.bin only, a pickle, which could run code"),
    "another type": (
        lambda f: rewritten(f, model_type="bert"),
        UsageError,
        "a model of type 'bert', which cannot guide",
    ),
    "no JSON": (lambda f: (f / "config.json").write_bytes(b"{"), UsageError, "config.json cannot be read"),
    "no object": (lambda f: (f / "config.json").write_bytes(b"[]"), UsageError, "config.json is not a JSON object"),
    "torn": (lambda f: (f / "model.safetensors").write_bytes(b"12345678"), UsageError, "cannot be loaded"),
    "half": (without_text_tower, UsageError, "lack "),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_cannot_be_used_is_one_sentence(damage: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    spoil, kind, said = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(kind) as caught:
        load_clip(Member("clip", str(folder)), "fp32")
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"word{index}" for index in range(40)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UsageError, match="knows 57 tokens, its model 32"):
        load_clip(Member("clip", str(folder)), "fp32")


def test_a_tokenizer_that_needs_more_packages_says_which(
    folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise ImportError("SiglipTokenizer requires the SentencePiece library\nbut ...")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lacking)
    with pytest.raises(MissingPackageError, match="run: pip install sentencepiece protobuf"):
        load_clip(Member("clip", str(folders("siglip"))), "fp32")


def test_loading_prints_nothing_and_restores_the_library_s_verbosity(
    folders: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    guidance = load_clip(Member("clip", str(folders("clip"))), "fp32")
    guidance.encode_text([" ".join(["red"] * 50)])
    guidance.unread_words(" ".join(["red"] * 50))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_words_that_the_tokenizer_lacks_are_named_where_it_has_a_token_for_them(
    clip: Callable[..., ClipGuidance],
) -> None:
    guidance = clip("clip")
    assert guidance.unknown_words("a red 茶壶 Ball zebra") == ("茶壶", "zebra")
    guidance.tokenizer.unk_token = guidance.tokenizer.eos_token  # As OpenAI's, which spells any text in bytes.
    assert guidance.unknown_words("a red 茶壶") == ()
