"""Training a shape prior: what is never trained on, what it learns, that it is the same again, and its measure."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamfields.prior.network import ShapePrior, prior_bytes
from dreamfields.train.looks import Shape
from dreamfields.train.prior_data import PAINTED, PriorData, captions_of, gather, held_out_models, paints_of
from dreamfields.train.prior_fit import drawn, fit_prior
from dreamfields.train.prior_measure import measure_prior, nearest_means, overlaps, rank_correlation
from dreamfields.train.prior_settings import PriorSettings
from dreamfields.train.shapes import read_shapes
from dreamfields.train.solids import COARSE, FINE
from tests.support.models import write_models

SETTINGS = PriorSettings(epochs=30, batch=8, dropout=0.0, noise=0.1)
CHAIR = Shape("c.npz", "chair", ("a red chair", "a chair"), ("red",), "furniture", 0.0)


def toy_data() -> PriorData:
    """Return models of two names, balls and flat boxes, of which one model and a third name are held out."""
    axis = torch.linspace(-1.0, 1.0, FINE)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    ball, plate = (x**2 + y**2 + z**2) < 0.8, y.abs() < 0.3
    names = ["ball"] * 6 + ["plate"] * 6 + ["dish"]
    filled = torch.stack([ball if name == "ball" else plate for name in names])
    sentences = torch.nn.functional.normalize(torch.randn((3, 8), generator=torch.Generator().manual_seed(0)), dim=1)
    sentences[2] = torch.nn.functional.normalize(sentences[1] + 0.1, dim=0)
    ids = torch.tensor([["ball", "plate", "dish"].index(name) for name in names])
    tints = torch.tensor([200 if name == "ball" else 50 for name in names], dtype=torch.uint8)
    return PriorData(
        names=tuple(names),
        categories=("thing",) * len(names),
        filled=filled,
        occupancy=filled[:, ::2, ::2, ::2].half(),
        colours=tints[:, None, None, None, None, None].expand(-1, 1 + PAINTED, COARSE, COARSE, COARSE, 3).clone(),
        sentences=sentences,
        captions=ids[:, None, None].expand(-1, 1 + PAINTED, 1).clone(),
        unseen_names=torch.tensor([name == "dish" for name in names]),
        unseen_models=torch.tensor([index in (5, 11) for index in range(len(names))]),
    )


def trained(data: PriorData, settings: PriorSettings = SETTINGS) -> ShapePrior:
    """Return a prior that was trained on data."""
    work = fit_prior(data, settings)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_a_prior_learns_shapes_and_colours_and_the_same_again() -> None:
    data = toy_data()
    prior = trained(data)
    for index, name in enumerate(("ball", "plate")):
        found = prior.predict(data.sentences[index])
        truth = data.filled[data.names.index(name)][::2, ::2, ::2]
        solid = found.coarse.occupancy > 0.5
        assert (solid & truth).sum() > 0.9 * (solid | truth).sum(), name
        assert found.overlap > 0.8
        shade = found.coarse.colours[truth].mean()
        assert shade == pytest.approx((200, 50)[index] / 255.0, abs=0.05)
    assert prior_bytes(trained(data), {}) == prior_bytes(prior, {})
    assert prior_bytes(trained(data, replace(SETTINGS, seed=1)), {}) != prior_bytes(prior, {})


def test_what_is_held_out_changes_nothing() -> None:
    data = toy_data()
    short = replace(SETTINGS, epochs=2)
    changed = replace(data, occupancy=data.occupancy.clone(), colours=data.colours.clone())
    changed.occupancy[~data.trained_on] = 0.0
    changed.colours[~data.trained_on] = 0
    assert prior_bytes(trained(changed, short), {}) == prior_bytes(trained(data, short), {})


def test_a_drawn_model_is_itself_or_its_mirror_image() -> None:
    data, models = toy_data(), torch.arange(4)
    lopsided = replace(data, occupancy=torch.rand(data.occupancy.shape, generator=torch.Generator().manual_seed(1)))
    seen = set()
    for seed in range(8):
        draws = torch.Generator().manual_seed(seed)
        embeddings, occupancy, _ = drawn(lopsided, models, 0.5, draws)
        assert torch.allclose(embeddings.norm(dim=1), torch.ones(4))
        for index in models.tolist():
            itself = lopsided.occupancy[index]
            assert torch.equal(occupancy[index], itself) or torch.equal(occupancy[index], itself.flip(2))
            seen.add(torch.equal(occupancy[index], itself))
    assert seen == {True, False}


def test_a_model_is_painted_in_other_colours_than_its_own_and_the_caption_says_so() -> None:
    paints = paints_of(CHAIR)
    assert len(set(paints)) == PAINTED
    assert "red" not in paints
    own, *painted = captions_of(CHAIR, paints)
    assert own == ("a red chair", "a chair")
    assert painted == [(f"a {word} chair",) for word in paints]
    golden = replace(CHAIR, name="golden chair")
    assert paints_of(golden) == [""] * PAINTED
    assert captions_of(golden, paints_of(golden))[1:] == [captions_of(golden, [])[0]] * PAINTED


def test_models_are_held_out_of_names_that_have_several() -> None:
    many = [replace(CHAIR, file=f"{index}.npz") for index in range(200)]
    chosen = held_out_models(many)
    assert 10 < sum(chosen) < 60
    assert not any(held_out_models(many[:2]))


def test_a_set_is_gathered(tmp_path: Path) -> None:
    work = gather(read_shapes(write_models(tmp_path / "shapes")), tmp_path / "cache")
    stages = []
    while True:
        try:
            stages.append(next(work).stage)
        except StopIteration as end:
            data = end.value
            break
    assert stages[0] == "models become voxels:"
    count = len(data.names)
    assert data.filled.shape == (count, FINE, FINE, FINE)
    assert data.occupancy.shape == (count, COARSE, COARSE, COARSE)
    assert data.colours.shape == (count, 1 + PAINTED, COARSE, COARSE, COARSE, 3)
    assert data.captions.shape[:2] == (count, 1 + PAINTED)
    assert torch.allclose(data.sentences.norm(dim=1), torch.ones(len(data.sentences)), atol=1e-5)
    assert not (data.unseen_names & data.unseen_models).any()
    assert "\n" not in repr(data)
    assert repr(data).startswith("<PriorData")


@given(st.integers(0, 9))
def test_the_overlap_of_a_shape_with_itself_is_one(seed: int) -> None:
    data = toy_data()
    index = seed % len(data.names)
    expected, true = overlaps(data.occupancy[index : index + 1].float(), data.filled[index : index + 1])[0].tolist()
    assert expected == 1.0
    assert true > 0.8  # But for what the coarse lattice cannot hold


def test_the_nearest_models_are_found() -> None:
    data = toy_data()
    found = nearest_means(data, data.sentences[2:], 1)
    assert torch.equal(found[0], data.occupancy[data.names.index("plate")].float())


def test_a_trained_prior_is_measured_beside_its_alternatives() -> None:
    data = toy_data()
    found = measure_prior(trained(data), data)
    assert list(found)[-1] == "prior"
    assert found["prior"].unseen_models > 0.8
    assert found["nearest model"].unseen_names == found["prior"].unseen_models
    assert found["mean of the category"].unseen_models < found["prior"].unseen_models - 0.1


def test_ranks_correlate_whatever_the_scale() -> None:
    values = torch.tensor([0.1, 0.5, 0.2, 0.9])
    assert rank_correlation(values, values.exp()) == pytest.approx(1.0)
    assert rank_correlation(values, -values) == pytest.approx(-1.0)
