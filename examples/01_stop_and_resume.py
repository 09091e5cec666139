"""Drive the optimisation with a plain loop, stop half-way, and go on from disk, as after a crash.

python examples/01_stop_and_resume.py --prompt "a banana"
"""

import tyro

import dreamfields


def main(prompt: str = "a banana", seed: int = 1, steps: int = 40) -> None:
    """Stop after half of the steps, then load the run and finish it."""
    run = dreamfields.start(prompt, preset="draft", seed=seed, steps=steps)
    for step in run.steps():
        print(f"step {step.index} of {step.total}: score {step.score:.3f}, opacity {step.opacity:.2f}")
        if step.index == steps // 2:
            break  # Leaving the loop saves a checkpoint of the last whole step.

    resumed = dreamfields.load(run.path)
    for step in resumed.steps():
        print(f"step {step.index} of {step.total}: score {step.score:.3f}")
    resumed.sheet(run.path / "contact_sheet.png")
    print(resumed)


if __name__ == "__main__":
    tyro.cli(main)
