"""Settings of the optimisation: the loop, the loss, restarts, and the recipe that holds all settings of a training."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from dreamfields.errors import UsageError
from dreamfields.guidance.ensemble import parse_members
from dreamfields.guidance.kinds import kind_named
from dreamfields.guidance.prompts import clean_text
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.render.settings import AugmentSettings, BackgroundSettings, RenderSettings
from dreamfields.scene.fields import FIELDS
from dreamfields.scene.settings import CameraSettings, FieldChoice
from dreamfields.settings import Range, Rising, Settings


@dataclass(frozen=True)
class OptimizeSettings(Settings):
    """The loop and the optimiser."""

    steps: Annotated[int, Range(1, 10_000_000)] = 800
    """Number of steps of the optimiser."""
    views: Annotated[int, Range(1, 256)] = 3
    """Views rendered in each step."""
    backgrounds: Annotated[int, Range(1, 256)] = 2
    """Backgrounds for each view and guidance model."""
    learning_rate: Annotated[float, Range(0.0, 10.0)] = 0.02
    """Peak learning rate of Adam."""
    final_learning_rate: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Fraction of the peak at which the cosine decay ends; 1 keeps the peak, as the paper does."""
    warm_up: Annotated[float, Range(0.0, 1.0)] = 0.0
    """Fraction of the steps in which the learning rate rises geometrically to its peak; the paper takes 1,500 steps."""
    warm_up_from: Annotated[float, Range(0.0001, 1.0)] = 0.1
    """Learning rate at the first step, as a fraction of the peak; the paper's 0.1."""
    adam_betas: Annotated[tuple[float, float], Range(0.0, 0.9999)] = (0.9, 0.99)
    """Decay rates of Adam's first and second moments."""
    adam_eps: Annotated[float, Range(0.0, 1.0)] = 1e-8
    """Adam's epsilon, added to the root of the second moment; the paper's 1e-5."""
    checkpoint_every: Annotated[int, Range(1, 1_000_000)] = 100
    """Number of steps between checkpoints."""


@dataclass(frozen=True)
class LossSettings(Settings):
    """Weights and targets of the terms of the loss; a term of weight 0 is not computed."""

    guidance: Annotated[float, Range(0.0, 1000.0)] = 1.0
    """Weight of the guidance's score."""
    transmittance: Annotated[float, Range(0.0, 1000.0)] = 0.5
    """Weight of the transmittance loss (Dream Fields eq. 4); the paper's 0.5."""
    transmittance_start: Annotated[float, Range(0.0, 1.0)] = 0.4
    """Target of the mean transmittance at the first step; the paper's 0.4."""
    transmittance_end: Annotated[float, Range(0.0, 1.0)] = 0.8
    """Target of the mean transmittance after the ramp; the paper's 0.88 is for smaller objects."""
    transmittance_ramp: Annotated[float, Range(0.0, 1.0)] = 0.3
    """Fraction of the steps in which the target changes; the paper takes 500 steps."""
    transmittance_form: Literal["additive", "gated", "clipped-gated"] = "additive"
    """Transmittance as a term of the loss (Dream Fields eq. 4), or as a factor of the guidance's term (table 2)."""
    beta_prior: Annotated[float, Range(0.0, 1000.0)] = 0.0
    """Weight of a prior for clear or opaque pixels (Neural Volumes; table 2); 0.001 in the released code."""
    density_noise: Annotated[tuple[float, float], Range(0.0, 1000.0)] = (0.0, 0.0)
    """Standard deviation of the noise on a network's density before the softplus, at the first and the last step."""
    fog: Annotated[float, Range(0.0, 1000.0)] = 0.2
    """Weight of the fog loss, which penalises pixels that are neither clear nor opaque."""
    fog_ramp: Annotated[tuple[float, float], Range(0.0, 1.0), Rising()] = (0.5, 0.7)
    """Fractions of the steps between which the weight of fog rises from 0; early shapes form from fog."""


@dataclass(frozen=True)
class InitSettings(Settings):
    """What the field begins as."""

    source: Literal["auto", "none", "prior"] = "auto"
    """`none`: a grey blob; `prior`: the likely shape of the thing that the prompt names; `auto`: that shape where the
    prior is confident of it."""
    subject: str = ""
    """Words to look up instead of those of the prompt; the run begins as the nearest shape, however far it is. A
    unicorn may begin as `a horse`."""
    licence: Literal["any", "cc0"] = "any"
    """Which shapes it may begin as: `cc0` leaves out those under CC BY, whose makers must be named with the object."""
    weight: Annotated[float, Range(0.0, 1000.0)] = 0.3
    """Weight of the charge for density that is missing inside the shape."""
    until: Annotated[float, Range(0.0, 1.0)] = 0.5
    """Fraction of the steps over which that charge falls to 0."""
    extent: Annotated[float, Range(0.1, 1.0)] = 0.75
    """Half the largest extent of the shape in scene units; the cube's is 1."""
    colour: Annotated[float, Range(0.0, 1.0)] = 0.0
    """How much of the prior's colours it begins with, which are rarely those of the prompt; at 0 it is grey."""

    def __post_init__(self) -> None:
        """Check every field and normalise the subject. Raises UsageError: a field cannot be used."""
        super().__post_init__()
        # Under `collected_faults`, words that cannot be used stay as they are.
        if not self.faults():
            object.__setattr__(self, "subject", clean_text(self.subject, "subject"))

    def faults(self) -> list[str]:
        """Return one sentence for each fault, those of the subject included."""
        found = super().faults()
        if not isinstance(self.subject, str) or not self.subject:
            return found
        try:
            subject = clean_text(self.subject, "subject")
        except UsageError as error:
            return [*found, str(error)]
        if not subject:
            found.append("subject holds a text with nothing to read in it; leave it out")
        if subject and self.source == "none":
            found.append(f"subject is {subject!r} and source is none; leave out one of them")
        return found


@dataclass(frozen=True)
class CollapseSettings(Settings):
    """Conditions for restarting the optimisation from a derived seed."""

    restarts: Annotated[int, Range(0, 100)] = 1
    """Highest number of restarts; 0 for none."""
    look_from: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Fraction of the steps after which an empty or full scene leads to a restart."""
    stuck_at: Annotated[float, Range(0.0, 1.0)] = 0.4
    """Fraction of the steps after which the score must have risen by `stuck_gain`."""
    stuck_gain: Annotated[float, Range(-2.0, 2.0)] = 0.02
    """Smallest rise of the mean score from the first steps to `stuck_at`; below it the optimisation restarts."""
    empty_below: Annotated[float, Range(0.0, 1.0)] = 0.01
    """Mean opacity below which a scene counts as empty."""
    full_above: Annotated[float, Range(0.0, 1.0)] = 0.9
    """Mean opacity above which a scene counts as full."""
    memory: Annotated[float, Range(0.0, 0.9999)] = 0.9
    """Decay rate of the running means of score and opacity at each step."""
    warm_up: Annotated[int, Range(1, 10_000)] = 10
    """Number of first steps, whose mean score is compared with that at `stuck_at`."""


@dataclass(frozen=True)
class Recipe(FieldChoice):
    """All settings that, with the prompts and the seed, determine the optimised field."""

    guidance: GuidanceSettings = dataclasses.field(default_factory=GuidanceSettings)
    """Models that score images."""
    cameras: CameraSettings = dataclasses.field(default_factory=CameraSettings)
    """Cameras of the views."""
    render: RenderSettings = dataclasses.field(default_factory=RenderSettings)
    """Rendering of the views."""
    backgrounds: BackgroundSettings = dataclasses.field(default_factory=BackgroundSettings)
    """Backgrounds behind the views."""
    augment: AugmentSettings = dataclasses.field(default_factory=AugmentSettings)
    """Augmentation of the images."""
    losses: LossSettings = dataclasses.field(default_factory=LossSettings)
    """Terms of the loss."""
    optimize: OptimizeSettings = dataclasses.field(default_factory=OptimizeSettings)
    """Loop and optimiser."""
    init: InitSettings = dataclasses.field(default_factory=InitSettings)
    """What the field begins as."""
    collapse: CollapseSettings = dataclasses.field(default_factory=CollapseSettings)
    """Conditions for a restart."""

    def faults(self) -> list[str]:
        """Return one sentence for each fault, including combinations that cannot be used."""
        if found := super().faults():
            return found
        crop, size = self.augment.crop, self.render.size
        if crop > size:
            found.append(f"augment.crop is {crop}; it must be at most render.size, which is {size}")
        unbounded = [name for name, kind in FIELDS.items() if kind.unbounded]
        if not self.render.bounds and self.field not in unbounded:
            fault = f"render.bounds is off; the {self.field} field ends with the cube"
            found.append(f"{fault}, so use --field {' or '.join(unbounded)}")
        noisy = [name for name, kind in FIELDS.items() if kind.density_noise]
        if any(self.losses.density_noise) and self.field not in noisy:
            fault = f"losses.density_noise is above 0; the {self.field} field takes none"
            found.append(f"{fault}, so use --field {' or '.join(noisy)}")
        return found

    @property
    def looks_up(self) -> bool:
        """Return whether the prior is asked what to start from."""
        if self.init.source == "none":
            return False
        if self.init.source == "prior" or self.init.subject:
            return True
        return any(kind_named(member.kind).sees_shapes for member in parse_members(self.guidance.name))
