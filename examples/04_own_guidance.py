"""Optimise a field with a guidance of your own, in memory: python examples/04_own_guidance.py --steps 60."""

from collections.abc import Sequence

import torch
import tyro
from torch import Tensor

from dreamfields.guidance.base import AbstractGuidance, Guide
from dreamfields.optimize.loop import optimize
from dreamfields.optimize.objective import make_targets
from dreamfields.optimize.state import TrainingState
from dreamfields.presets import preset


class Redness(AbstractGuidance):
    """Scores an image by how red it is: sentences become unit vectors (n, 3) in RGB, and so do images."""

    name, image_size = "redness", 32

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(sentences), 3)

    def encode_image(self, images: Tensor) -> Tensor:
        return torch.nn.functional.normalize(images.mean(dim=(2, 3)), dim=-1)


def main(steps: int = 60, seed: int = 0) -> None:
    """Print how the score rises."""
    state = TrainingState(preset("draft").recipe, seed, torch.device("cpu"))
    for step in optimize(state, make_targets([Guide(Redness())], "{}", "anything")):
        print(f"step {step.index}: score {step.score:.3f}")
        if step.index == steps:
            break


if __name__ == "__main__":
    tyro.cli(main)
