"""The context of a step: the recipe, the attempt's seed and the step's index, which decide all that it draws."""

from dataclasses import dataclass

import torch

from dreamfields.optimize.randomness import seeded_generator
from dreamfields.optimize.settings import Recipe


@dataclass(frozen=True)
class StepContext:
    """What the parts of a step have in common."""

    recipe: Recipe
    seed: int
    """Seed of the attempt."""
    step: int
    """Index of the step, from 0."""

    @property
    def progress(self) -> float:
        """Return the fraction of all steps done before this one, in [0, 1)."""
        return self.step / self.recipe.optimize.steps

    def generator(self, stream: str) -> torch.Generator:
        """Return a fresh CPU generator for one stream of this step's draws."""
        return seeded_generator(self.seed, stream, self.step)
