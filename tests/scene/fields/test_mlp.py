"""The network field: its size, its start, what it averages over, and what a field promises."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from dreamfields.scene import encoding
from dreamfields.scene.fields import networks
from dreamfields.scene.fields.base import FieldValues, Query, lattice
from dreamfields.scene.fields.mlp import MlpField, ResidualBlock
from dreamfields.scene.settings import MlpSettings
from tests.support.fields import seeded

SMALL = MlpSettings(frequencies=8, max_octave=3.0, anneal_steps=10, width=8, hidden=12, blocks=2)


def small_field(settings: MlpSettings = SMALL, seed: int = 0) -> MlpField:
    return MlpField(settings, seeded(seed))


def queries(count: int, seed: int = 0, size: float = 0.1) -> Query:
    generator = seeded(seed)
    points = 2.0 * torch.rand((count, 3), generator=generator) - 1.0
    directions = torch.nn.functional.normalize(torch.randn((count, 3), generator=generator), dim=-1)
    lengths, radii = size * torch.rand((2, count), generator=generator)
    return Query(points, directions, lengths, radii)


def together(values: FieldValues) -> Tensor:
    return torch.cat([values.density[:, None], values.colour], dim=-1)


def test_the_default_network_has_the_size_of_the_released_one() -> None:
    field = MlpField(MlpSettings(), seeded())
    assert sum(parameter.numel() for parameter in field.parameters()) == 315_396
    assert field.early.in_features == 262
    assert field(torch.zeros(2, 262)).shape == (2, 4)


def test_the_network_is_its_formula() -> None:
    field, features = small_field(), torch.randn(5, 22)

    def swish(values: Tensor) -> Tensor:
        return values / (1.0 + torch.exp(-values))

    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        hidden = swish(features @ field.early.weight.T + field.early.bias)
        for block in field.blocks:
            assert isinstance(block, ResidualBlock)
            centred = hidden - hidden.mean(dim=-1, keepdim=True)
            normal = centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-6)
            normal = normal * block.norm.weight + block.norm.bias
            wide = swish(normal @ block.widen.weight.T + block.widen.bias)
            hidden = hidden + wide @ block.narrow.weight.T + block.narrow.bias
        late = swish(hidden @ field.late.weight.T + field.late.bias)
        expected = late @ field.head.weight.T + field.head.bias
        assert torch.allclose(field(features), expected, atol=1e-5)


def test_density_is_a_softplus_and_colours_are_sigmoids() -> None:
    field, query = small_field(), queries(20)
    raw = field(field.encode(query, 2.0)).tolist()
    values = field.evaluator()(query)
    for index, (*colour, density) in enumerate(raw):
        assert values.density[index].item() == pytest.approx(math.log1p(math.exp(density)), rel=1e-4)
        expected = [1.0 / (1.0 + math.exp(-channel)) for channel in colour]
        assert values.colour[index].tolist() == pytest.approx(expected, rel=1e-4)


def test_the_first_weights_have_the_variance_of_one_over_their_inputs_and_no_tails() -> None:
    for layer in MlpField(MlpSettings(), seeded()).modules():
        if isinstance(layer, nn.Linear) and layer.weight.numel() > 10_000:
            weights = layer.weight.detach() * math.sqrt(layer.in_features)
            assert float(weights.var()) == pytest.approx(1.0, abs=0.05)
            assert float(weights.abs().max()) <= 2.0 / 0.8796
            assert float(weights.mean().abs()) < 0.05
            assert not layer.bias.detach().any()


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    one, again, other = (small_field(seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], again[name]) for name in one)
    differing = {name for name in one if not torch.equal(one[name], other[name])}
    assert differing == {name for name in one if name.endswith("weight") and "norm" not in name}


def test_the_global_generator_decides_nothing_and_is_left_alone() -> None:
    before = torch.get_rng_state()
    one = small_field().state_dict()
    torch.manual_seed(123)
    again = small_field().state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_of_points_does_not_matter() -> None:
    evaluate, query = small_field().evaluator(), queries(40)
    order = torch.randperm(40)
    shuffled = Query(query.points[order], query.directions[order], query.lengths[order], query.radii[order])
    assert torch.allclose(together(evaluate(shuffled)), together(evaluate(query))[order], atol=1e-6)


def test_no_side_looks_different() -> None:
    evaluate, query = small_field().evaluator(), queries(30)
    back = replace(query, directions=-query.directions)
    assert torch.equal(together(evaluate(back)), together(evaluate(query)))


def test_what_a_sample_stands_for_counts_and_in_plain_encoding_does_not() -> None:
    query = queries(30)
    larger = replace(query, lengths=5.0 * query.lengths)
    wider = replace(query, radii=5.0 * query.radii)
    for name, matters in (("integrated", True), ("plain", False)):
        evaluate = small_field(replace(SMALL, encoding=name)).evaluator()  # type: ignore[arg-type]
        for other in (larger, wider):
            assert torch.equal(together(evaluate(other)), together(evaluate(query))) != matters


def test_the_anneal_follows_the_step_and_ends() -> None:
    field, query = small_field(), queries(30)
    answers = []
    for step in (0, 5, 10, 11, 1000):
        field.step = step
        answers.append(together(field.evaluator()(query)))
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])
    assert torch.equal(answers[2], answers[3])
    assert torch.equal(answers[2], answers[4])
    unannealed = small_field(replace(SMALL, anneal_steps=0)).evaluator()
    assert torch.equal(together(unannealed(query)), answers[2])
    doubled = replace(query, lengths=2.0 * query.lengths, radii=2.0 * query.radii)
    assert torch.allclose(together(unannealed(doubled)), answers[0], atol=1e-5)


def test_every_weight_learns() -> None:
    field = small_field()
    (together(field.evaluator()(queries(100))) * torch.randn(100, 4)).sum().backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0.0, name


def test_the_gradient_is_the_slope() -> None:
    field, query, grad = small_field().double(), queries(10), torch.randn(10, 4).double()
    query = Query(query.points.double(), query.directions.double(), query.lengths.double(), query.radii.double())
    weights = list(field.parameters())
    way = [torch.randn_like(weight) for weight in weights]
    loss = (together(field.evaluator()(query)) * grad).sum()
    slope = sum(float((g * w).sum()) for g, w in zip(torch.autograd.grad(loss, weights), way, strict=True))
    ends = []
    with torch.no_grad():
        for sign in (1.0, -2.0):
            for weight, along in zip(weights, way, strict=True):
                weight.add_(sign * 1e-5 * along)
            ends.append(float((together(field.evaluator()(query)) * grad).sum()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(slope, rel=1e-4)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    field, query = small_field(), queries(100)
    whole = together(field.evaluator()(query))
    monkeypatch.setattr(networks, "POINT_BATCH_SIZE", 7)
    with torch.no_grad():
        parts = together(field.evaluator()(query))
    assert torch.allclose(parts, whole, atol=1e-6)
    assert whole.requires_grad
    assert not parts.requires_grad


def test_recomputed_layers_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    query, grad = queries(100), torch.randn(100, 4)
    monkeypatch.setattr(networks, "POINT_BATCH_SIZE", 30)
    gradients = []
    for checkpoint_layers in (False, True):
        field = small_field(replace(SMALL, checkpoint_layers=checkpoint_layers))
        loss = (together(field.evaluator()(query)) * grad).sum()
        gradients.append(torch.autograd.grad(loss, list(field.parameters())))
    for kept, again in zip(*gradients, strict=True):
        assert torch.allclose(kept, again, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("learns", [False, True])
def test_no_points_are_no_values(learns: bool) -> None:
    with torch.set_grad_enabled(learns):
        for checkpoint_layers in (False, True):
            values = small_field(replace(SMALL, checkpoint_layers=checkpoint_layers)).evaluator()(queries(0))
            assert (values.density.shape, values.colour.shape) == ((0,), (0, 3))


@pytest.mark.parametrize("growth", [0.0, 1.0, 30.0, 1e3])
def test_values_and_gradients_stay_finite_and_in_range(growth: float) -> None:
    field = small_field(replace(SMALL, max_octave=16.0))
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.mul_(growth)
    query = queries(60)
    strange = Query(
        points=torch.cat([query.points, torch.zeros(1, 3), torch.full((1, 3), 1e4)]),
        directions=torch.cat([query.directions, torch.zeros(2, 3)]),
        lengths=torch.cat([query.lengths, torch.tensor([0.0, 1e9])]),
        radii=torch.cat([query.radii, torch.tensor([1e9, 0.0])]),
    )
    values = field.evaluator()(strange)
    assert torch.isfinite(together(values)).all()
    assert values.density.min() >= 0.0
    assert values.colour.min() >= 0.0
    assert values.colour.max() <= 1.0
    together(values).sum().backward()
    for parameter in field.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("cells", [1, 4, 6])
def test_the_density_volume_is_the_density_of_its_cells_indexed_z_y_x(cells: int) -> None:
    field = small_field()
    volume = field.density_volume(cells)
    assert volume.shape == (cells + 1, cells + 1, cells + 1)
    spacing = torch.tensor([2.0 / cells])
    for z, y, x in [(0, 0, 0), (cells, 0, 0), (0, cells, 0), (0, 0, cells), (cells, cells // 2, 0)]:
        point = torch.tensor([[-1.0 + 2.0 * index / cells for index in (x, y, z)]])
        query = Query(point, torch.tensor([[0.6, 0.0, 0.8]]), spacing, spacing)
        assert volume[z, y, x].item() == pytest.approx(field.evaluator()(query).density.item(), rel=1e-4)


def test_a_finer_lattice_keeps_higher_frequencies() -> None:
    frequencies = encoding.draw_frequencies(128, 8.0, "sphere")
    left = []
    for cells in (8, 32, 128):
        query = lattice(cells, torch.device("cpu"))[:1]
        covariance = encoding.frustum_covariance(query.directions, query.lengths, query.radii)
        left.append(float(encoding.attenuation(encoding.variance_along(frequencies, covariance)).mean()))
    assert left == sorted(left)
    assert left[0] < 0.6 < 0.9 < left[2]


def test_all_that_the_field_computes_with_moves_with_it() -> None:
    field = small_field().to("meta")
    assert {tensor.device.type for tensor in field.state_dict().values()} == {"meta"}
    query = queries(3)
    query = Query(*(part.to("meta") for part in (query.points, query.directions, query.lengths, query.radii)))
    # A tensor left on the CPU would be refused beside those on another device.
    values = field.evaluator()(query)
    assert (values.density.device.type, values.colour.device.type) == ("meta", "meta")
    assert field.density_volume(2).device.type == "meta"
