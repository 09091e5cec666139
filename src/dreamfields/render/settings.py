"""Settings of rendering: image size, samples, occupancy, backgrounds and augmentation."""

from dataclasses import dataclass, fields
from typing import Annotated, Literal, get_type_hints

from dreamfields.settings import Range, Rising, Settings

Interval = tuple[float, float]

Jitter = Literal["ray", "sample"]  # Whether all samples of a ray are moved by one random number, or each by its own

TERMINATION = 1e-3  # Default transmittance at which a ray ends: what lies behind changes no image of 8 bits


@dataclass(frozen=True)
class RenderSettings(Settings):
    """How a training view is rendered."""

    size: Annotated[int, Range(1, 2048)] = 96
    """Pixels a side of a training view."""
    samples: Annotated[int, Range(1, 4096)] = 24
    """Samples a ray within the box around the occupied cells; the paper takes 192 across the whole cube."""
    jitter: Jitter = "ray"
    """Whether all samples of a ray are moved along it by one random number, or, as in the paper, each by its own."""
    termination: Annotated[float, Range(0.0, 1.0)] = TERMINATION
    """Transmittance at which a ray ends; the paper follows it to its end, 0."""
    occupancy_cells: Annotated[int, Range(1, 512)] = 64
    """Cells a side of the occupancy grid, which says where samples are evaluated."""
    occupancy_every: Annotated[int, Range(1, 100_000)] = 10
    """Steps between two updates of the occupancy grid."""
    occupancy_threshold: Annotated[float, Range(0.0, 1000.0)] = 0.5
    """Density, in inverse scene units, below which a cell counts as empty; with 0 none does, as in the paper."""
    textureless: Annotated[float, Range(0.0, 1.0)] = 0.25
    """Fraction of the steps that render their views without colours, so that the shape must match the prompt, too
    (DreamFusion sec. 3.1); the paper has none. Only where all guides can score such images: `lit` in closed form
    cannot. With a geometry prompt there are no such steps."""
    textureless_from: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Fraction of the steps before the first textureless one: at first there is no shape to shade."""
    bounds: bool = True
    """Whether density counts inside the scene cube alone; without, a network is sampled in a shell around the centre,
    as in the first lines of the paper's table 1."""


# The weight of a kind of background; its field has the name of the module in `render.backgrounds`.
Weight = Annotated[float, Range(0.0, 1000.0), "of a kind"]


@dataclass(frozen=True)
class BackgroundSettings(Settings):
    """Which backgrounds are behind training views (Dream Fields sec. 3.3); weights are relative."""

    noise: Weight = 1.0
    """Weight of uniform pixel noise."""
    checkerboard: Weight = 1.0
    """Weight of two-colour checkerboards."""
    fourier: Weight = 1.0
    """Weight of smooth random textures with a natural spectrum."""
    plain: Weight = 1.5
    """Weight of one colour everywhere, as in most photographs of objects; the paper has none of these."""
    black: Weight = 0.0
    """Weight of black: the paper's table 1 before it has backgrounds."""
    checkerboard_squares: Annotated[int, Range(1, 256)] = 8
    """Squares a side of a checkerboard; the paper's 8."""
    fourier_decay: Annotated[float, Range(0.0, 10.0)] = 1.5
    """Power by which the amplitudes of a Fourier texture fall with frequency; the paper's 1.5."""
    blur: Annotated[Interval, Range(0.0, 100.0), Rising()] = (0.0, 0.0446)
    """Standard deviation of the Gaussian blur, drawn uniformly, as a fraction of the side; the paper ends at 10/224."""
    blur_reach: Annotated[float, Range(0.0, 1.0)] = 0.0
    """Half width of the blur's kernel as a fraction of the side; 0 for three deviations. The paper's code has 7/224."""
    compositing: Literal["plain", "double"] = "plain"
    """How an object covers its background: as light does, or as in the paper's code, which multiplies the object's
    colour by its opacity twice."""

    def faults(self) -> list[str]:
        """Return one sentence for each fault; at least one weight must be above zero."""
        found = super().faults()
        if not found and not any(self.weights().values()):
            *names, last = self.weights()
            found.append(f"the weights of {', '.join(names)} and {last} are all 0; one must be above 0 at least")
        return found

    def weights(self) -> dict[str, float]:
        """Return the weight of each kind of background by its name, in the order on which random draws depend."""
        hints = get_type_hints(type(self), include_extras=True)
        return {field.name: getattr(self, field.name) for field in fields(self) if hints[field.name] == Weight}


@dataclass(frozen=True)
class AugmentSettings(Settings):
    """How a composited view is augmented before it is scored; every number is drawn uniformly."""

    crop: Annotated[int, Range(0, 2048)] = 0
    """Pixels a side of a random crop of the rendering, which is enlarged and put on a background of the guidance's
    input size: the paper's augmentation, in place of the settings below. 0 crops nothing."""
    scale: Annotated[Interval, Range(0.1, 10.0), Rising()] = (0.7, 1.05)
    """Fraction of the view's side that the image shows: below 1 zooms in."""
    rotation_deg: Annotated[float, Range(0.0, 180.0)] = 10.0
    """Largest rotation in the image plane, either way, in degrees."""
    shift: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Largest shift along each axis, as a fraction of the side."""
    contrast: Annotated[float, Range(0.0, 1.0)] = 0.2
    """Largest relative change of contrast, either way."""
    brightness: Annotated[float, Range(0.0, 1.0)] = 0.1
    """Largest change of brightness, either way, of the range 0 to 1."""
    saturation: Annotated[Interval, Range(0.0, 10.0), Rising()] = (0.5, 1.5)
    """Factors of the distance from grey."""
    noise: Annotated[float, Range(0.0, 1.0)] = 0.04
    """Standard deviation of Gaussian pixel noise."""
