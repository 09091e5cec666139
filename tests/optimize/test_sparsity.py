"""The other rows of Dream Fields' table 2: each by hand, and in a step."""

import math
from dataclasses import replace

import pytest
import torch

from dreamfields.guidance.base import Guide
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.optimize import losses
from dreamfields.optimize.loop import density_noise
from dreamfields.optimize.objective import evaluate_objective, make_targets
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.settings import LossSettings, Recipe
from dreamfields.render.renderer import Rendering
from tests.support.toys import TINY, TINY_MLP, advance, fingerprint, new_state


@pytest.mark.parametrize(("target", "expected"), [(None, 0.7), (0.5, 0.5), (0.9, 0.7)])
def test_a_gate_is_the_mean_transmittance_up_to_its_target(target: float | None, expected: float) -> None:
    opacity = torch.tensor([0.0, 0.2, 0.7]).reshape(1, 1, 1, 3)
    assert losses.gate(opacity, target).item() == pytest.approx(expected)


def test_the_beta_prior_by_hand() -> None:
    opacity = torch.tensor([0.5, 0.2])
    expected = (2 * math.log(0.5) + math.log(0.2) + math.log(0.8)) / 2
    assert losses.beta_prior(opacity).item() == pytest.approx(expected)
    clear = torch.tensor([0.0, 1.0])
    assert losses.beta_prior(clear).item() == pytest.approx(math.log(1e-6))
    assert losses.beta_prior(clear) < losses.beta_prior(opacity) < losses.beta_prior(torch.tensor([0.5]))


def objective_of(form: str, beta: float = 0.0) -> tuple[float, float, Recipe, torch.Tensor]:
    terms = LossSettings(guidance=2.0, transmittance_start=0.5, transmittance_end=0.5, fog=0.0, beta_prior=beta)
    recipe = replace(TINY, losses=replace(terms, transmittance_form=form))  # type: ignore[arg-type]
    opacity = torch.full((1, 1, 12, 12), 0.4)
    view = Rendering(torch.rand((1, 3, 12, 12), generator=torch.Generator().manual_seed(0)) * 0.4, opacity, opacity)
    objective = evaluate_objective(view, make_targets([Guide(ToyGuidance())], "{}", "red"), StepContext(recipe, 0, 0))
    return -objective.score, objective.total().item(), recipe, opacity


def test_the_forms_of_transmittance_count_as_they_should() -> None:
    # Mean T is 0.6, the target 0.5, the guidance's weight 2 and the term's 0.5.
    guidance, total, recipe, _ = objective_of("additive")
    assert total == pytest.approx(2.0 * guidance - recipe.losses.transmittance * 0.5)
    for form, factor in (("gated", 0.6), ("clipped-gated", 0.5)):
        same, gated, _, _ = objective_of(form)
        assert same == guidance
        assert gated == pytest.approx(2.0 * factor * guidance)


def test_the_beta_prior_is_added_by_its_weight() -> None:
    _, without, _, opacity = objective_of("additive")
    _, total, _, _ = objective_of("additive", beta=0.25)
    assert total == pytest.approx(without + 0.25 * losses.beta_prior(opacity).item())


def noise_of(start: float, end: float) -> StepContext:
    losses_ = replace(TINY_MLP.losses, density_noise=(start, end))
    return StepContext(replace(TINY_MLP, losses=losses_), seed=1, step=3)


def test_noise_is_added_to_the_density_before_its_softplus_within_the_block_alone() -> None:
    field = new_state(TINY_MLP).field
    before = field.density_volume(4)
    with density_noise(field, noise_of(2.0, 2.0)):
        noisy = field.density_volume(4)
    with density_noise(field, noise_of(2.0, 2.0)):
        again = field.density_volume(4)
    assert torch.equal(noisy, again)
    assert torch.equal(field.density_volume(4), before)

    def pre(density: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.expm1(density.double()))

    added = (pre(noisy) - pre(before)).flatten()
    assert added.std().item() == pytest.approx(2.0, rel=0.2)  # 125 draws
    with density_noise(field, noise_of(0.0, 0.0)):
        assert field.density_noise is None


def test_a_run_with_noise_goes_elsewhere_and_the_same_seed_goes_there_again() -> None:
    noisy = replace(TINY_MLP, losses=replace(TINY_MLP.losses, density_noise=(1.0, 0.0)))
    ends = []
    for recipe in (TINY_MLP, noisy, noisy):
        state = new_state(recipe)
        advance(state, 3)
        ends.append(fingerprint(state))
    assert ends[0] != ends[1] == ends[2]


def test_transmittance_is_clipped_at_a_target_that_may_be_anything() -> None:
    assert losses.transmittance_loss(torch.full((1, 1, 1, 1), 0.4), 0.5).item() == pytest.approx(-0.5)
