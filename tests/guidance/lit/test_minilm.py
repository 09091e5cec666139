"""The text tower as one function is the model of transformers, bit for bit, and does not import it."""

import json
import subprocess
import sys
import zipfile

import pytest
import safetensors.torch
import torch

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.lit import weights
from dreamfields.guidance.lit.closed_form import class_sentences, embed_class_names
from dreamfields.guidance.lit.minilm import MiniLm
from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.guidance.lit.weights import MINILM, checked_file
from dreamfields.guidance.prompts import wordings
from dreamfields.guidance.settings import GuidanceSettings

TEXTS = (["a teapot"], ["a red teapot", "a long sentence about teapots, cups and saucers " * 9, ""])


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


@pytest.mark.parametrize("texts", TEXTS, ids=["one", "padded"])
@torch.no_grad()
def test_it_equals_the_model_of_transformers(texts: list[str], encoder: SentenceEncoder) -> None:
    from transformers import BertConfig, BertModel

    with zipfile.ZipFile(checked_file(MINILM)) as archive:
        config = BertConfig(**json.loads(archive.read("config.json")))
        state = safetensors.torch.load(archive.read("model.safetensors"))
    reference = BertModel(config, add_pooling_layer=False).eval()
    reference.load_state_dict({name: state[name] for name in reference.state_dict()})
    encodings = encoder.tokenizer.encode_batch(texts)
    ids = torch.tensor([one.ids for one in encodings])
    mask = torch.tensor([one.attention_mask for one in encodings])
    expected = reference(input_ids=ids, attention_mask=mask).last_hidden_state
    # States of padding are never read.
    assert torch.allclose(encoder.model(ids, mask)[mask.bool()], expected[mask.bool()], rtol=0.0, atol=1e-6)


def test_it_keeps_the_weights_that_it_reads_under_their_names() -> None:
    names = ["embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.bias", "pooler.dense.weight"]
    weights_ = {name: torch.rand(2, 2) for name in [*names, "embeddings.position_ids"]}
    kept = MiniLm(weights_, layers=1, heads=1, epsilon=1e-12).state_dict()
    assert sorted(kept) == sorted(names[:2])
    assert torch.equal(kept[names[0]], weights_[names[0]])


def test_sentences_are_read_without_transformers() -> None:
    code = """
import sys
from dreamfields.guidance.lit.towers import SentenceEncoder
SentenceEncoder().encode(["a teapot"])
print("transformers" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.stdout == "False\n", ended.stderr


def test_the_embeddings_of_class_names_in_the_package_are_those_that_are_computed(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (default,) = wordings(GuidanceSettings().template)
    computed = embed_class_names(encoder, default)
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode", None)  # They are not computed again.
        shipped = class_sentences(encoder, default)
    # The last bits depend on the processor.
    assert torch.allclose(shipped, computed, rtol=0.0, atol=1e-5)
    assert not torch.allclose(class_sentences(encoder, "a drawing of {}"), shipped, rtol=0.0, atol=1e-2)


def test_other_embeddings_of_class_names_are_refused(encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamfields.guidance.lit.closed_form.CLASS_SENTENCES_SHA256", "0" * 64)
    with pytest.raises(MissingPackageError, match=r"class-sentences\.safetensors is damaged .* --force-reinstall"):
        class_sentences(encoder, "a photo of {}")
    with pytest.raises(
        MissingPackageError, match=r"nothing is missing; run: pip install --force-reinstall dreamfields"
    ):
        weights.shipped_file("nothing", "")
