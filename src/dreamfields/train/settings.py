"""Settings of training adapters."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from dreamfields.settings import Range, Settings

Loss = Literal["contrastive", "sigmoid"]
TowerName = Literal["lite0", "lite1", "lite2"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """Sizes and dropout of the two networks of a pair of adapters."""

    hidden: Annotated[int, Range(1, 8192)] = 960
    """Units of each hidden layer."""
    space: Annotated[int, Range(2, 4096)] = 320
    """Dimensions of the space where pictures and sentences meet."""
    dropout: Annotated[tuple[float, float], Range(0.0, 0.99)] = (0.3, 0.6)
    """Fractions of the inputs and of the hidden units that are set to 0 while training."""


@dataclass(frozen=True)
class TuningLosses(Settings):
    """What adapters are trained for: the sum of three losses, see `fit`."""

    pairs: Loss = "contrastive"
    """`contrastive`: each picture among all sentences of a batch and the other way round (InfoNCE, as CLIP);
    `sigmoid`: each pair by itself (as SigLIP)."""
    negatives: Annotated[float, Range(0.0, 100.0)] = 0.7
    """Weight of telling a caption from the same one with another colour, or seen from another side."""
    classes: Annotated[float, Range(0.0, 100.0)] = 0.5
    """Weight of the distillation of the tower's classifier: its probabilities of a picture over the 1,000 classes."""


@dataclass(frozen=True)
class TuningSettings(Settings):
    """How adapters are trained; the defaults are those of the shipped ones."""

    tower: TowerName = "lite2"
    """The image tower they belong to. Those of `lite1` can judge, never guide."""
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Same seed, same data, same machine, same adapters."""
    precision: Precision = "fp32"
    """Number format of the tower for the training pictures. `fp32` takes the compiled loops, 8 ms for a picture of 160
    pixels on one core; `bf16` may take less where the processor computes with it, and 40 times as long where not. It
    moves features by 1 in 1,000 (cosine 0.999)."""
    epochs: Annotated[int, Range(1, 1000)] = 20
    """Passes over the pictures, at most: training stops when the validation pictures are found no better."""
    patience: Annotated[int, Range(1, 1000)] = 5
    """Epochs without a better validation before training stops."""
    batch: Annotated[int, Range(2, 65536)] = 768
    """Pairs a step."""
    learning_rate: Annotated[float, Range(0.0, 1.0)] = 1e-3
    """Peak learning rate of AdamW; it rises over the first tenth of the steps and falls as a cosine."""
    weight_decay: Annotated[float, Range(0.0, 10.0)] = 0.1
    """Decay of AdamW."""
    validation: Annotated[float, Range(0.01, 0.5)] = 0.06
    """Fraction of the pictures that is not trained on but decides when to stop."""
    losses: TuningLosses = field(default_factory=TuningLosses)
    """What they are trained for."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """The networks that are trained."""
