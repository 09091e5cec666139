"""What is told of a run in short: the facts that its files carry, and one line for people."""

from dreamfields import __version__
from dreamfields.guidance.ensemble import label
from dreamfields.reprs import shortened_text
from dreamfields.runs.directory import RunDirectory
from dreamfields.runs.metrics import last_index, last_score
from dreamfields.runs.record import RunRecord


def export_facts(record: RunRecord) -> dict[str, str | int | float]:
    """Return the facts that every exported file of a run carries.

    Among them is the `credit` of the shape that it began as, if its licence asks for one: no attempt but the first
    begins as a shape.
    """
    config = record.config
    credit = (
        {"credit": f"began as {record.start['credit']}"} if record.attempts <= 1 and record.start.get("credit") else {}
    )
    return {
        "prompt": config.prompt,
        "seed": config.seed,
        "guidance": label(config.recipe.guidance.name),
        "steps": config.recipe.optimize.steps,
        "generator": f"dreamfields {__version__}",
        **credit,
    }


def run_in_short(record: RunRecord, directory: RunDirectory) -> str:
    """Return prompt, seed, status, steps, score and folder of a run; never raises, even if files are gone."""
    config, done, score = record.config, last_index(directory.metrics), last_score(directory.metrics)
    steps = f"{config.recipe.optimize.steps} steps"
    parts = [f'Run "{shortened_text(config.prompt)}"', f"seed {config.seed}", record.status]
    parts.append(steps if done is None else f"{done} of {steps}")
    if score is not None:
        parts.append(f"score {score:.3f}")
    return f"<{', '.join([*parts, str(directory.path)])}>"
