"""Every kind in the table of guidance: it checks its weights, loads, embeds, has gradients, and judges."""

from pathlib import Path

import pytest
import torch

from dreamfields.errors import MissingPackageError
from dreamfields.evaluate.judges import check_judge_weights, load_judge
from dreamfields.guidance import toy
from dreamfields.guidance.base import AbstractGuidance
from dreamfields.guidance.clip import model as clip
from dreamfields.guidance.ensemble import check_weights, load_guides, parse_members
from dreamfields.guidance.kinds import KINDS, Kind, KindModule, kind_named, name_choices
from dreamfields.guidance.lit import load as lit
from dreamfields.guidance.settings import GuidanceSettings
from tests.guidance.conftest import SIZE
from tests.support.clips import make_folder

CPU = torch.device("cpu")
MODULES: tuple[KindModule, ...] = (lit, toy, clip)
"""Named one by one so that mypy compares them with `KindModule`."""


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: str(kind.name))
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GuidanceSettings:
    """Return settings that name one kind; the model of one that takes an id is a tiny folder."""
    kind: Kind = request.param
    name = kind.name
    if kind.takes_model_id:
        name += f":{make_folder(tmp_path_factory.mktemp('models') / 'tiny')}"
    return GuidanceSettings(name=name, image_size=SIZE)


@pytest.fixture(scope="module")
def loaded(settings: GuidanceSettings) -> list[AbstractGuidance]:
    """Return the guides of a kind and its judge."""
    return [*(guide.guidance for guide in load_guides(settings, CPU)), load_judge(settings.name, CPU)]


def test_names_are_distinct_and_listed_for_the_user() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert all(kind.name in name_choices() for kind in KINDS)


def test_weights_that_are_here_pass_the_checks(settings: GuidanceSettings) -> None:
    check_weights(settings)
    check_judge_weights(settings.name)
    (member,) = parse_members(settings.name)
    assert member.label.startswith(kind_named(member.kind).name)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.takes_model_id], ids=lambda kind: str(kind.name))
def test_a_model_that_is_not_here_fails_both_checks(kind: Kind, tmp_path: Path) -> None:
    name = f"{kind.name}:{tmp_path / 'missing'}"
    with pytest.raises(MissingPackageError):
        check_weights(GuidanceSettings(name=name))
    with pytest.raises(MissingPackageError):
        check_judge_weights(name)


def test_the_weights_of_guides_sum_to_1(settings: GuidanceSettings) -> None:
    guides = load_guides(settings, CPU)
    assert sum(guide.weight for guide in guides) == pytest.approx(1.0)
    assert {guide.start for guide in guides} == {0.0}


def test_texts_and_images_are_unit_vectors_of_one_space_and_gradients_reach_the_images(
    loaded: list[AbstractGuidance],
) -> None:
    for guidance in loaded:
        texts = guidance.encode_text(["a photo of a red ball", "a table"])
        images = torch.rand((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0)).requires_grad_()
        embeddings = guidance.encode_image(images)
        assert embeddings.shape == texts.shape
        for vectors in (texts, embeddings):
            assert torch.allclose(vectors.norm(dim=-1), torch.ones(2), atol=1e-5)
        guidance.score(images, texts[0]).sum().backward()
        assert images.grad is not None
        assert bool(images.grad.isfinite().all())
        assert bool((images.grad != 0.0).any())
        assert not any(parameter.requires_grad for parameter in guidance.parameters())
        assert guidance.name
