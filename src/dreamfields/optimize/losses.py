"""The terms of the loss, all minimised: one function for each equation, and the table of those added to the guidance.

Notation: scores (b,) of b images in [-1, 1]; opacity o (v, 1, h, w) of v views in [0, 1]; transmittance T = 1 - o;
tau the target of its mean. Losses are ().
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from dreamfields.optimize import schedules
from dreamfields.optimize.settings import LossSettings
from dreamfields.render.renderer import Rendering
from dreamfields.reprs import short_repr


def guidance_loss(scores: Tensor) -> Tensor:
    """Return minus the mean score (Dream Fields eq. 2)."""
    return -scores.mean()


def transmittance_loss(opacity: Tensor, target: float) -> Tensor:
    """Return -min(tau, mean T) (Dream Fields eq. 4): no gradient where the scene is emptier than the target."""
    return -(1.0 - opacity.mean()).clamp(max=target)


def gate(opacity: Tensor, target: float | None) -> Tensor:
    """Return the factor of a gated guidance: mean T, or min(tau, mean T) (named without formulas in table 2)."""
    transmittance = 1.0 - opacity.mean()
    return transmittance if target is None else transmittance.clamp(max=target)


def fog(opacity: Tensor) -> Tensor:
    """Return the mean of 4 o (1 - o) over pixels with o > 0.05, in [0, 1]: 0 is fully opaque, 1 is all fog."""
    visible = (opacity > 0.05).to(opacity)
    return (4.0 * opacity * (1.0 - opacity) * visible).sum() / visible.sum().clamp(min=1.0)


def beta_prior(opacity: Tensor) -> Tensor:
    """Return the mean of log(o) + log(1 - o) clamped at 1e-6, least for clear or opaque pixels (released code)."""
    return (opacity.clamp(min=1e-6).log() + (1.0 - opacity).clamp(min=1e-6).log()).mean()


@dataclass(frozen=True)
class TermInputs:
    """The inputs of a term."""

    settings: LossSettings
    progress: float  # Fraction of all steps done, in [0, 1)
    rendering: Rendering  # (v, ...), the step's views
    fog: Tensor  # (), of these views; computed once for the term and the step's report
    transmittance: float | None = None  # Target of the mean transmittance where the field began as an object

    __repr__ = short_repr


@dataclass(frozen=True)
class Term:
    """A term that is added to the guidance's."""

    weight: Callable[[LossSettings], float]
    value: Callable[[TermInputs], Tensor | None]
    """(), unweighted; None at steps without this term. Not called if the weight is 0."""


def _transmittance_target(inputs: TermInputs) -> float:
    if inputs.transmittance is not None:
        return inputs.transmittance
    given = inputs.settings
    ends = given.transmittance_start, given.transmittance_end
    return schedules.transmittance_target(inputs.progress, *ends, given.transmittance_ramp)


def _transmittance(inputs: TermInputs) -> Tensor | None:
    is_term = inputs.settings.transmittance_form == "additive"
    return transmittance_loss(inputs.rendering.opacity, _transmittance_target(inputs)) if is_term else None


def _fog(inputs: TermInputs) -> Tensor | None:
    factor = schedules.ramp(inputs.progress, *inputs.settings.fog_ramp)
    return factor * inputs.fog if factor > 0.0 else None


TERMS: Mapping[str, Term] = {
    "transmittance": Term(lambda settings: settings.transmittance, _transmittance),
    "fog": Term(lambda settings: settings.fog, _fog),
    "beta_prior": Term(lambda settings: settings.beta_prior, lambda inputs: beta_prior(inputs.rendering.opacity)),
}
"""The terms by name, in the order of summation. A new one is a function and a line here, a weight in `LossSettings`."""


def weighted_terms(inputs: TermInputs) -> dict[str, Tensor]:
    """Return the terms of this step times their weights, () each."""
    weighted = ((name, term, term.weight(inputs.settings)) for name, term in TERMS.items())
    values = ((name, weight, term.value(inputs)) for name, term, weight in weighted if weight > 0.0)
    return {name: weight * value for name, weight, value in values if value is not None}


def guidance_gate(inputs: TermInputs) -> Tensor | float:
    """Return the factor of the guidance's term: 1 if transmittance is an additive term."""
    form = inputs.settings.transmittance_form
    if form == "additive":
        return 1.0
    return gate(inputs.rendering.opacity, _transmittance_target(inputs) if form == "clipped-gated" else None)
