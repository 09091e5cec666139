"""What safety costs: the time of saves against that of the steps between them, at the default settings."""

import statistics
import time
from pathlib import Path

import pytest

from dreamfields.guidance.ensemble import load_guides
from dreamfields.optimize.loop import optimize
from dreamfields.optimize.objective import make_targets
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.runs.checkpoint import save_checkpoint
from tests.support.toys import CPU, PROMPT


@pytest.mark.reliability
def test_safe_checkpoints_cost_less_than_a_hundredth_of_a_default_run(tmp_path: Path) -> None:
    recipe = Recipe()
    state = TrainingState(recipe, 0, CPU)
    targets = make_targets(load_guides(recipe.guidance, CPU), recipe.guidance.template, PROMPT)
    steps = optimize(state, targets)
    times = [next(steps).seconds for _ in range(7)][2:]  # The first ones compile.
    saves = []
    for _ in range(7):
        began = time.perf_counter()
        save_checkpoint(tmp_path, state, {"prompt": PROMPT})
        saves.append(time.perf_counter() - began)
    fraction = statistics.median(saves) / (recipe.optimize.checkpoint_every * statistics.median(times))
    size = sum(path.stat().st_size for path in tmp_path.iterdir()) / 1e6
    print(  # noqa: T201 - the figure of docs/reliability.md, shown by pytest -s
        f"a save {1e3 * statistics.median(saves):.0f} ms ({size:.1f} MB), "
        f"a step {1e3 * statistics.median(times):.0f} ms, every {recipe.optimize.checkpoint_every}: {fraction:.2%}"
    )
    assert fraction < 0.01
