"""Losses: each equation by hand, and every term of the table by the same rules."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dreamfields.optimize import losses
from dreamfields.optimize.settings import LossSettings
from dreamfields.render.renderer import Rendering


def test_the_guidance_loss_is_minus_the_mean_score() -> None:
    assert losses.guidance_loss(torch.tensor([0.5, -0.1, 0.2])).item() == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("opacity", "target", "expected"),
    [
        (0.75, 0.5, -0.25),  # Fuller than the target: minus the transmittance.
        (0.5, 0.5, -0.5),
        (0.25, 0.5, -0.5),  # Emptier than the target: nothing more to gain.
        (0.0, 0.8, -0.8),
        (1.0, 0.8, 0.0),
    ],
)
def test_the_transmittance_loss_by_hand(opacity: float, target: float, expected: float) -> None:
    assert losses.transmittance_loss(torch.full((2, 1, 3, 3), opacity), target).item() == pytest.approx(expected)


def test_the_transmittance_loss_takes_the_mean_of_all_pixels_before_it_clips() -> None:
    opacity = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(2, 1, 1, 2)
    assert losses.transmittance_loss(opacity, 0.6).item() == pytest.approx(-0.5)


@pytest.mark.parametrize(("opacity", "slope"), [(0.75, 0.25), (0.25, 0.0)])
def test_only_a_scene_fuller_than_the_target_has_a_gradient(opacity: float, slope: float) -> None:
    pixels = torch.full((1, 1, 2, 2), opacity, requires_grad=True)
    losses.transmittance_loss(pixels, 0.5).backward()
    assert pixels.grad is not None
    assert pixels.grad.flatten().tolist() == pytest.approx([slope] * 4)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ([0.0, 1.0, 1.0], 0.0),
        ([0.5, 0.5], 1.0),
        ([0.25, 1.0, 0.0], 0.375),  # Clear pixels do not count.
        ([0.0, 0.04], 0.0),
        ([], 0.0),
    ],
)
def test_fog_by_hand(pixels: list[float], expected: float) -> None:
    assert losses.fog(torch.tensor(pixels)).item() == pytest.approx(expected)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_fog_lies_between_0_and_1(pixels: list[float]) -> None:
    assert 0.0 <= losses.fog(torch.tensor(pixels)).item() <= 1.0


NO_TERM = LossSettings(transmittance=0.0, fog=0.0, fog_ramp=(0.0, 0.5))


def inputs_of(opacity: Tensor, settings: LossSettings) -> losses.TermInputs:
    views = Rendering(opacity.expand(-1, 3, -1, -1), opacity, 4.0 * opacity)
    return losses.TermInputs(settings, 0.25, views, losses.fog(opacity))


@pytest.mark.parametrize("name", losses.TERMS)
@pytest.mark.parametrize("fill", [None, 0.0, 1.0], ids=["any", "clear", "opaque"])
def test_every_term_of_the_table_is_finite_and_has_its_weight_from_the_setting_of_its_name(
    name: str, fill: float | None
) -> None:
    drawn = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    opacity = (0.5 + 0.5 * drawn if fill is None else torch.full_like(drawn, fill)).requires_grad_()
    light, heavy = (replace(NO_TERM, **{name: weight}) for weight in (1.0, 2.0))  # type: ignore[arg-type]
    (term,) = losses.weighted_terms(inputs_of(opacity, light)).values()
    assert torch.isfinite(term)
    assert losses.weighted_terms(inputs_of(opacity, heavy)) == {name: 2.0 * term}
    term.backward()
    assert opacity.grad is not None
    assert bool(torch.isfinite(opacity.grad).all())
    assert fill is not None or bool(opacity.grad.any())


@pytest.mark.parametrize("name", losses.TERMS)
def test_a_term_without_weight_is_not_computed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def computed(inputs: losses.TermInputs) -> Tensor:
        raise AssertionError(f"{name} was computed")

    refusing = replace(losses.TERMS[name], value=computed)
    monkeypatch.setattr(losses, "TERMS", {**losses.TERMS, name: refusing})
    assert losses.weighted_terms(inputs_of(torch.full((1, 1, 2, 2), 0.5), NO_TERM)) == {}


def test_fog_does_not_count_before_its_ramp() -> None:
    views = torch.full((1, 1, 2, 2), 0.5)
    assert losses.weighted_terms(inputs_of(views, replace(NO_TERM, fog=1.0, fog_ramp=(0.25, 0.5)))) == {}
    (term,) = losses.weighted_terms(inputs_of(views, replace(NO_TERM, fog=1.0, fog_ramp=(0.0, 0.5)))).values()
    assert term.item() == pytest.approx(0.5)


@pytest.mark.parametrize(("form", "factor"), [("additive", 1.0), ("gated", 0.5), ("clipped-gated", 0.4)])
def test_transmittance_is_a_term_or_a_factor_of_the_guidance(form: str, factor: float) -> None:
    settings = LossSettings(transmittance_start=0.4, transmittance_end=0.4, fog=0.0)
    inputs = inputs_of(torch.full((1, 1, 2, 2), 0.5), replace(settings, transmittance_form=form))  # type: ignore[arg-type]
    assert float(losses.guidance_gate(inputs)) == pytest.approx(factor)
    assert ("transmittance" in losses.weighted_terms(inputs)) == (form == "additive")
