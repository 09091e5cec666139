"""Counter-based randomness: every draw comes from (seed, stream name, step) and nothing else.

No generator is kept from one step to the next, so a resumed run draws the same numbers as an uninterrupted one, and
a preview, which has its own stream, cannot change a run.
"""

import hashlib
from dataclasses import dataclass

import torch

from dreamfields.optimize.settings import Recipe


def derive_seed(seed: int, stream: str, index: int = 0) -> int:
    """Return a seed of 63 bits: the first of the SHA-256 of all three arguments."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{stream}/{index}".encode()).digest()[:8], "big") >> 1


def seeded_generator(seed: int, stream: str, index: int = 0) -> torch.Generator:
    """Return a fresh CPU generator for one stream at one step."""
    return torch.Generator().manual_seed(derive_seed(seed, stream, index))


@dataclass(frozen=True)
class StepContext:
    """What determines a step besides the state."""

    recipe: Recipe
    seed: int  # The attempt's
    step: int  # From 0

    @property
    def progress(self) -> float:
        """Return the fraction of all steps done before this one, in [0, 1)."""
        return self.step / self.recipe.optimize.steps

    def generator(self, stream: str) -> torch.Generator:
        """Return a fresh CPU generator for one stream of this step's draws."""
        return seeded_generator(self.seed, stream, self.step)
