"""Settings of training a shape prior."""

from dataclasses import dataclass
from typing import Annotated

from dreamfields.settings import Range, Settings


@dataclass(frozen=True)
class PriorSettings(Settings):
    """How a shape prior is trained; the defaults are those of the shipped one."""

    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    """Same seed, same models, same machine, same prior."""
    epochs: Annotated[int, Range(1, 1000)] = 80
    """Passes over the models."""
    batch: Annotated[int, Range(2, 4096)] = 128
    """Models a step."""
    learning_rate: Annotated[float, Range(0.0, 1.0)] = 1e-3
    """Peak learning rate of AdamW; it rises over the first tenth of the steps and falls as a cosine."""
    weight_decay: Annotated[float, Range(0.0, 10.0)] = 0.02
    """Decay of AdamW."""
    dropout: Annotated[float, Range(0.0, 0.99)] = 0.2
    """Fraction of the hidden units that is set to 0 while training."""
    noise: Annotated[float, Range(0.0, 10.0)] = 0.5
    """Length of the noise that is added to a sentence's embedding, whose own length is 1."""
