"""Say more than a prompt: what the object must not be, other words for it, and what its shape alone should be.

python examples/02_steer_the_prompt.py
"""

import tyro

import dreamfields
from dreamfields import PromptSettings


def main(preset: str = "draft", steps: int | None = None) -> None:
    """Make a teapot that is no mug, named differently from the back, in the form of a sphere."""
    prompts = PromptSettings(
        negative_prompt="a mug",
        paraphrases=("a kettle for tea",),
        azimuth_prompts=("front:{}, front view", "back:{}, back view"),
        geometry_prompt="a sphere",
        style="glazed ceramic",
    )
    run = dreamfields.generate("a teapot", preset=preset, steps=steps, prompts=prompts)
    print(f"made {run.config.prompt!r}, {run.config.prompts.style}: {run.path / 'object.glb'}")


if __name__ == "__main__":
    tyro.cli(main)
