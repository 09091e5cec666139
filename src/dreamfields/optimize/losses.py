"""The terms of the loss, all minimised: one function an equation, and the table of those added to the guidance.

Notation: scores (b,) of b images in [-1, 1]; opacity o (v, 1, h, w) of v views in [0, 1]; transmittance T = 1 - o;
tau the target of its mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from dreamfields.optimize import schedules
from dreamfields.optimize.settings import LossSettings
from dreamfields.render.renderer import Rendering

_FLOOR: Final = 1e-6


def guidance_loss(scores: Tensor) -> Tensor:
    """Return minus the mean score (Dream Fields eq. 2): ()."""
    return -scores.mean()


def transmittance_loss(opacity: Tensor, target: float) -> Tensor:
    """Return -min(tau, mean T) (Dream Fields eq. 4): (); a scene emptier than the target gains nothing."""
    return -(1.0 - opacity.mean()).clamp(max=target)


def gate(opacity: Tensor, target: float | None) -> Tensor:
    """Return the factor of a gated guidance (Dream Fields table 2): (), mean T, or min(tau, mean T) with a target.

    The paper names this form and gives its scores, not its formula.
    """
    transmittance = 1.0 - opacity.mean()
    return transmittance if target is None else transmittance.clamp(max=target)


def fog(opacity: Tensor) -> Tensor:
    """Return the mean of 4 o (1 - o) over pixels with o > 0.05, in [0, 1]: 0 is a clean cut-out, 1 is all fog."""
    visible = (opacity > 0.05).to(opacity)
    return (4.0 * opacity * (1.0 - opacity) * visible).sum() / visible.sum().clamp(min=1.0)


def beta_prior(opacity: Tensor) -> Tensor:
    """Return the mean of log(o) + log(1 - o), each argument at least 1e-6 (Neural Volumes; released code): ().

    Least where pixels are clear or opaque, greatest where they are neither.
    """
    return (opacity.clamp(min=_FLOOR).log() + (1.0 - opacity).clamp(min=_FLOOR).log()).mean()


@dataclass(frozen=True)
class TermInputs:
    """What a term may depend on."""

    settings: LossSettings
    progress: float  # Fraction of all steps done, in [0, 1)
    rendering: Rendering  # (v, ...), the step's views
    fog: Tensor  # (), of these views; measured once for the term and the report of the step


@dataclass(frozen=True)
class Term:
    """A term that is added to the guidance's."""

    weight: Callable[[LossSettings], float]
    value: Callable[[TermInputs], Tensor | None]
    """(), before its weight; None at steps where it does not count. Not called where the weight is 0."""


def _transmittance_target(inputs: TermInputs) -> float:
    settings = inputs.settings
    ends = settings.transmittance_start, settings.transmittance_end
    return schedules.transmittance_target(inputs.progress, *ends, settings.transmittance_ramp)


def _transmittance(inputs: TermInputs) -> Tensor | None:
    if inputs.settings.transmittance_form != "additive":
        return None
    return transmittance_loss(inputs.rendering.opacity, _transmittance_target(inputs))


def _fog(inputs: TermInputs) -> Tensor | None:
    rise = schedules.ramp(inputs.progress, *inputs.settings.fog_ramp)
    return rise * inputs.fog if rise > 0.0 else None


TERMS: Mapping[str, Term] = {
    "transmittance": Term(lambda settings: settings.transmittance, _transmittance),
    "fog": Term(lambda settings: settings.fog, _fog),
    "beta_prior": Term(lambda settings: settings.beta_prior, lambda inputs: beta_prior(inputs.rendering.opacity)),
}
"""The terms by name, in the order of summation. A new one is a function and a line here, a weight in `LossSettings`."""


def weighted_terms(inputs: TermInputs) -> dict[str, Tensor]:
    """Return the terms that count at this step, times their weights: () each."""
    weights = {name: term.weight(inputs.settings) for name, term in TERMS.items()}
    values = {name: TERMS[name].value(inputs) for name, weight in weights.items() if weight > 0.0}
    return {name: weights[name] * value for name, value in values.items() if value is not None}


def guidance_gate(inputs: TermInputs) -> Tensor | float:
    """Return the factor of the guidance's term: 1 where transmittance is a term of its own."""
    form = inputs.settings.transmittance_form
    if form == "additive":
        return 1.0
    return gate(inputs.rendering.opacity, _transmittance_target(inputs) if form == "clipped-gated" else None)
