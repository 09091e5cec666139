"""Drive the optimisation with a plain loop, stop half-way, and go on from disk, as after a crash.

python examples/01_stop_and_resume.py --prompt "a banana"
"""

from dataclasses import replace

import tyro

import dreamfields
from dreamfields import PRESETS, Config


def main(prompt: str = "a banana", seed: int = 1, steps: int = 40) -> None:
    """Stop after half of the steps, then load the run and finish it."""
    recipe = PRESETS["draft"].recipe
    recipe = replace(recipe, optimize=replace(recipe.optimize, steps=steps))
    run = dreamfields.start(Config(prompt, seed=seed, recipe=recipe))
    for step in run.steps():
        print(f"step {step.index} of {step.total}: score {step.score:.3f}, opacity {step.opacity:.2f}")
        if step.index == steps // 2:
            break  # Leaving the loop saves a checkpoint of the last whole step.

    resumed = dreamfields.load(run.path)
    for step in resumed.steps():
        print(f"step {step.index} of {step.total}: score {step.score:.3f}")
    resumed.sheet(run.path / "contact_sheet.png")
    print(f"{resumed.status}: {run.path / 'contact_sheet.png'}")


if __name__ == "__main__":
    tyro.cli(main)
