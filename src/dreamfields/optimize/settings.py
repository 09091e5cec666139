"""Settings of the optimisation: its length, its learning rate, and the terms of the loss besides the guidance."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.render.settings import AugmentSettings, BackgroundSettings, RenderSettings
from dreamfields.scene.fields import FIELDS
from dreamfields.scene.settings import CameraSettings, FieldChoice
from dreamfields.settings import Range, Rising, Settings


@dataclass(frozen=True)
class OptimizeSettings(Settings):
    """The loop and its optimiser."""

    steps: Annotated[int, Range(1, 10_000_000)] = 800
    """Steps of the optimiser."""
    views: Annotated[int, Range(1, 256)] = 3
    """Cameras a step."""
    backgrounds: Annotated[int, Range(1, 256)] = 2
    """Backgrounds a view, for each guidance model."""
    learning_rate: Annotated[float, Range(0.0, 10.0)] = 0.02
    """Peak learning rate of Adam."""
    final_learning_rate: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Fraction of the peak at which the cosine decay ends; 1 keeps the peak, as the paper does."""
    warm_up: Annotated[float, Range(0.0, 1.0)] = 0.0
    """Fraction of the steps over which the rate rises geometrically to the peak; the paper's 1,500 steps."""
    warm_up_from: Annotated[float, Range(0.0001, 1.0)] = 0.1
    """Fraction of the rate at which the rise begins; the paper's 0.1."""
    adam_betas: Annotated[tuple[float, float], Range(0.0, 0.9999)] = (0.9, 0.99)
    """Decay of Adam's first and second moments."""
    adam_eps: Annotated[float, Range(0.0, 1.0)] = 1e-8
    """Adam's epsilon, added to the root of the second moment; the paper's 1e-5."""
    checkpoint_every: Annotated[int, Range(1, 1_000_000)] = 100
    """Steps between two checkpoints."""


@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights and targets of the terms of the loss; a term of weight 0 is not computed."""

    guidance: Annotated[float, Range(0.0, 1000.0)] = 1.0
    """Weight of the guidance's score."""
    transmittance: Annotated[float, Range(0.0, 1000.0)] = 0.5
    """Weight of the clipped additive transmittance (Dream Fields eq. 4); the paper's 0.5."""
    transmittance_start: Annotated[float, Range(0.0, 1.0)] = 0.4
    """Target of the mean transmittance at first; the paper's 0.4."""
    transmittance_end: Annotated[float, Range(0.0, 1.0)] = 0.8
    """Target of the mean transmittance after the ramp; the paper's 0.88 is for smaller objects."""
    transmittance_ramp: Annotated[float, Range(0.0, 1.0)] = 0.3
    """Fraction of the steps over which the target moves; the paper's 500 steps."""
    transmittance_form: Literal["additive", "gated", "clipped-gated"] = "additive"
    """A term of its own (Dream Fields eq. 4), or a factor of the guidance's, without or with the target (table 2)."""
    beta_prior: Annotated[float, Range(0.0, 1000.0)] = 0.0
    """Weight of a prior for clear or opaque pixels (Neural Volumes; table 2); the released code's is 0.001."""
    density_noise: Annotated[tuple[float, float], Range(0.0, 1000.0)] = (0.0, 0.0)
    """Deviation of the noise added to a network's density before its softplus, at the first and the last step."""
    fog: Annotated[float, Range(0.0, 1000.0)] = 0.2
    """Weight of the views' fog: pixels that are neither clear nor opaque."""
    fog_ramp: Annotated[tuple[float, float], Range(0.0, 1.0), Rising()] = (0.5, 0.7)
    """Fractions of the steps between which that weight rises from 0; early on, shapes must be able to form from fog."""


@dataclass(frozen=True)
class CollapseSettings(Settings):
    """When an attempt is given up and restarted from a derived seed."""

    restarts: Annotated[int, Range(0, 100)] = 1
    """Restarts allowed; 0 never gives up."""
    look_from: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Fraction of the steps from which an empty or full scene counts as a collapse."""
    stuck_at: Annotated[float, Range(0.0, 1.0)] = 0.4
    """Fraction of the steps at which the score must have risen."""
    stuck_gain: Annotated[float, Range(-2.0, 2.0)] = 0.02
    """Rise of the mean score, from the first steps to `stuck_at`, below which an attempt is stuck."""
    empty_below: Annotated[float, Range(0.0, 1.0)] = 0.01
    """Mean opacity below which a scene is empty."""
    full_above: Annotated[float, Range(0.0, 1.0)] = 0.9
    """Mean opacity above which a scene is full."""
    memory: Annotated[float, Range(0.0, 0.9999)] = 0.9
    """Decay of the running means, a step."""
    warm_up: Annotated[int, Range(1, 10_000)] = 10
    """First steps, whose mean score is the one that must rise."""


@dataclass(frozen=True)
class Recipe(FieldChoice):
    """Everything that decides what a prompt and a seed become."""

    guidance: GuidanceSettings = dataclasses.field(default_factory=GuidanceSettings)
    """The models that score images."""
    cameras: CameraSettings = dataclasses.field(default_factory=CameraSettings)
    """Where views are taken from."""
    render: RenderSettings = dataclasses.field(default_factory=RenderSettings)
    """How views are rendered."""
    backgrounds: BackgroundSettings = dataclasses.field(default_factory=BackgroundSettings)
    """What views are composed with."""
    augment: AugmentSettings = dataclasses.field(default_factory=AugmentSettings)
    """How the images are augmented."""
    losses: LossSettings = dataclasses.field(default_factory=LossSettings)
    """What is minimised."""
    optimize: OptimizeSettings = dataclasses.field(default_factory=OptimizeSettings)
    """Steps and optimiser."""
    collapse: CollapseSettings = dataclasses.field(default_factory=CollapseSettings)
    """When an attempt is given up."""

    def faults(self) -> list[str]:
        """Return one sentence for each fault, combinations that cannot work included."""
        found = super().faults()
        if found:
            return found
        if self.augment.crop > self.render.size:
            found.append(
                f"augment.crop is {self.augment.crop}; it must be at most render.size, which is {self.render.size}"
            )
        kind, field = FIELDS[self.field], f"the {self.field} field"
        if not (self.render.bounds or kind.unbounded):
            others = " or ".join(name for name, other in FIELDS.items() if other.unbounded)
            found.append(f"render.bounds is off; {field} ends with the cube, so use --field {others}")
        if any(self.losses.density_noise) and not kind.density_noise:
            others = " or ".join(name for name, other in FIELDS.items() if other.density_noise)
            found.append(f"losses.density_noise is above 0; {field} takes none, so use --field {others}")
        return found
