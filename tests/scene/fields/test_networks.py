"""Networks: the one the paper starts from, bfloat16, and compiling that may fail."""

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from dreamfields.render.renderer import render
from dreamfields.scene.cameras import Camera
from dreamfields.scene.encoding import draw_frequencies
from dreamfields.scene.fields import networks
from dreamfields.scene.fields.base import Query, lattice
from dreamfields.scene.fields.mlp import MlpField
from dreamfields.scene.fields.nerf import NerfField
from dreamfields.scene.settings import MlpSettings
from tests.support.fields import seeded

SMALL = MlpSettings(frequencies=8, max_octave=3.0, anneal_steps=10, width=8, hidden=12, blocks=2)


def query() -> Query:
    return lattice(3, torch.device("cpu"))


@pytest.fixture
def full_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the query two full parts of 30 and a smaller one, which is never compiled."""
    monkeypatch.setattr(networks, "POINT_BATCH_SIZE", 30)


def test_axes_are_the_octaves_below_the_highest() -> None:
    expected = [[2.0**octave if axis == at else 0.0 for at in range(3)] for octave in range(3) for axis in range(3)]
    assert draw_frequencies(128, 3.0, "axes").tolist() == expected


def test_nerf_is_its_formula() -> None:
    field = NerfField(SMALL, seeded())
    features = torch.randn(5, 2 * len(field.frequencies), generator=seeded())
    with torch.no_grad():
        hidden = features
        for index, layer in enumerate(field.layers):
            inputs = torch.cat([features, hidden], dim=1) if index == 5 else hidden
            hidden = (inputs @ layer.weight.T + layer.bias).clamp(min=0.0)  # type: ignore[operator]
        expected = hidden @ field.head.weight.T + field.head.bias
        assert torch.allclose(field(features), expected, atol=1e-5)
        assert float(field.evaluator()(query()).density.min()) >= 0.0
    assert field.density_volume(3).shape == (4, 4, 4)


def test_nerf_starts_with_something_to_see() -> None:
    for seed in range(20):
        assert NerfField(MlpSettings(), seeded(seed)).density_volume(6).mean().item() > 0.05


def test_bf16_is_near_fp32_and_rounds_layers_not_phases() -> None:
    settings = MlpSettings(anneal_steps=0)
    exact, rough = (MlpField(replace(settings, precision=name), seeded()) for name in ("fp32", "bf16"))
    answers = [field.evaluator()(query()) for field in (exact, rough)]
    assert answers[1].density.dtype == answers[1].colour.dtype == torch.float32
    assert not torch.equal(answers[0].density, answers[1].density)
    assert torch.allclose(answers[0].density, answers[1].density, atol=0.05)
    assert torch.allclose(answers[0].colour, answers[1].colour, atol=0.05)
    answers[1].density.sum().backward()
    assert all(parameter.dtype == torch.float32 for parameter in rough.parameters())


@pytest.mark.usefixtures("full_parts")
def test_where_nothing_compiles_a_warning_says_so_and_the_values_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(torch, "compile", refuse)
    plain, hopeful = MlpField(SMALL, seeded()), MlpField(replace(SMALL, compiled=True), seeded())
    with pytest.warns(UserWarning, match="torch.compile does not work here, going on without: no compiler$"):
        values = hopeful.evaluator()(query())
    assert hopeful.compile_fault == "no compiler"
    assert torch.equal(values.density, plain.evaluator()(query()).density)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # It is said once.
        hopeful.evaluator()(query())


@pytest.mark.usefixtures("full_parts")
def test_the_compiled_function_gets_the_scale_as_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    scales: list[Tensor] = []
    counts: list[int] = []

    def compile_nothing(function: Any, **_: Any) -> Any:
        def compiled(*arguments: Any) -> Tensor:
            scales.append(arguments[-1])
            counts.append(len(arguments[0]))
            answer: Tensor = function(*arguments)
            return answer

        return compiled

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plain, compiled = MlpField(SMALL, seeded()), MlpField(replace(SMALL, compiled=True), seeded())
    for step in (0, 5, 20):
        plain.step = compiled.step = step
        expected, found = (field.evaluator()(query()).density for field in (plain, compiled))
        assert torch.allclose(found, expected, atol=1e-6)
    assert all(isinstance(scale, Tensor) and scale.ndim == 0 for scale in scales)
    assert [float(scale) for scale in scales[2::2]] == pytest.approx([2.0, 2.0**0.5, 1.0])
    assert set(counts) == {30}
    assert all(parameter.grad is None for parameter in compiled.parameters())


def test_without_bounds_density_outside_of_the_cube_is_seen() -> None:
    field = MlpField(SMALL, seeded())
    # Past the cube's corner, but inside the shell: a ray that misses the cube sees nothing with bounds.
    camera = Camera(0.0, 0.0, fov_deg=60.0)
    within = render(field, [camera], 8, 16).opacity[0, 0]
    field.bounded = False
    beyond = render(field, [camera], 8, 16).opacity[0, 0]
    assert within[0, 0].item() == 0.0 < beyond[0, 0].item()
    assert beyond.min().item() > 0.5
