"""What one of the paper's steps costs on a GPU, and what 10,000 of them would.

python benchmarks/gpu.py [--steps 300] [--out benchmarks/results] [--device auto] [--tiny]

One command, no download: CLIP ViT-B/16 is made here with random weights, which cost as much as trained ones. Times the
preset `paper-mq` (one view at 168 pixels, 192 samples a ray, 64 pictures of 224 pixels) in bfloat16, with torch.compile
where it works, sampling everything as the paper does and again without the empty cells; then `quick` as a user runs
it, from start to last file. Each recipe is tried with layers kept first and, where memory does not do, recomputed.
Writes a table and a JSON file. On one CUDA card it needs some ten minutes; `--tiny` is the same at a size for a CPU
and says nothing about speed.
"""

import contextlib
import gc
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import torch
import transformers
import tyro
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

import dreamfields
from dreamfields import paper
from dreamfields.devices import Device, resolve_device
from dreamfields.errors import DegenerateError
from dreamfields.guidance.clip.model import ClipGuidance
from dreamfields.guidance.clip.preprocess import CLIP_PREPROCESSING
from dreamfields.guidance.prompt_embeddings import PromptEmbeddings
from dreamfields.optimize.loop import take_step
from dreamfields.optimize.objective import Target, crop_and_compose
from dreamfields.optimize.randomness import seeded_generator
from dreamfields.optimize.settings import Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.render.renderer import render
from dreamfields.scene.cameras import sample_cameras
from dreamfields.scene.fields.mlp import MlpField
from dreamfields.storage import atomic_write

PAPER_STEPS = 10_000
SKIPPING_THRESHOLD, SKIPPING_EVERY = 0.05, 16
"""Density below which a cell is left out, as in the default recipe, and steps between two looks."""

COMPARED_STEPS = 40
"""Timed steps of what is only there to compare with."""


@dataclass(frozen=True)
class Arguments:
    """What to time and where to leave the results."""

    steps: int = 300
    """Timed steps of each recipe, after the warm-up."""
    warm_up: int = 20
    device: Device = "auto"
    out: Path = Path("benchmarks/results")
    tiny: bool = False
    """A size for a CPU, to see that all of it runs; its figures mean nothing."""


@dataclass(frozen=True)
class Row:
    """One recipe's figures."""

    name: str
    seconds: tuple[float, ...]
    """Of each timed step."""
    pictures: float
    """Seconds of crops and backgrounds alone, median; part of a step."""
    guide: float
    """Seconds of the guide on the step's pictures, both ways, median; part of a step."""
    peak_gb: float
    opacity: float
    """Mean opacity at the end."""
    occupied: float
    """Share of the cells that are sampled, at the end."""
    notes: str

    @property
    def ten_thousand(self) -> float:
        """Return the hours that 10,000 steps take at the mean of those timed."""
        return statistics.fmean(self.seconds) * PAPER_STEPS / 3600.0


def main() -> None:
    """Time everything and write the results."""
    arguments = tyro.cli(Arguments, description=__doc__)
    device = resolve_device("cpu" if arguments.tiny else arguments.device)
    if device.type != "cuda" and not arguments.tiny:
        raise SystemExit("gpu.py: there is no CUDA device here, and a step would take hours; use --tiny to try it out")
    rows = [measure(name, recipe, arguments, device) for name, recipe in recipes(arguments.tiny).items()]
    text = report(arguments, device, rows, quick(arguments.tiny, device))
    name = f"gpu_{date.today()}_{'tiny' if arguments.tiny else slug(hardware(device))}"
    atomic_write(arguments.out / f"{name}.md", text.encode())
    atomic_write(arguments.out / f"{name}.json", json.dumps([asdict(row) for row in rows], indent=1).encode())
    sys.stdout.write(text)


def recipes(tiny: bool) -> dict[str, Recipe]:
    """Return what is timed, by name."""
    whole = shrunk(paper.MQ) if tiny else paper.MQ
    whole = replace(whole, guidance=replace(whole.guidance, batch_size=0))
    fast = replace(whole, mlp=replace(whole.mlp, precision="bf16", compiled=not tiny))
    found = replace(fast.render, occupancy_threshold=SKIPPING_THRESHOLD, occupancy_every=SKIPPING_EVERY)
    return {
        "paper-mq, bf16": fast,
        "paper-mq, bf16, empty cells left out": replace(fast, render=found),
        "paper-mq, bf16, not compiled": replace(fast, mlp=replace(fast.mlp, compiled=False)),
        "paper-mq, fp32, not compiled": whole,
    }


def shrunk(recipe: Recipe) -> Recipe:
    """Return a recipe in every part of which a CPU does little."""
    return replace(
        recipe,
        mlp=replace(recipe.mlp, frequencies=8, width=16, hidden=16, blocks=1),
        render=replace(recipe.render, size=16, samples=8, occupancy_cells=8),
        augment=replace(recipe.augment, crop=14),
        optimize=replace(recipe.optimize, backgrounds=4),
    )


def measure(name: str, recipe: Recipe, arguments: Arguments, device: torch.device) -> Row:
    """Time one recipe with layers kept, or recomputed where memory does not do."""
    kept = replace(recipe, mlp=replace(recipe.mlp, checkpoint_layers=False))
    with contextlib.suppress(torch.OutOfMemoryError):
        return time_steps(name, kept, arguments, device)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return time_steps(name, recipe, arguments, device)


def time_steps(name: str, recipe: Recipe, arguments: Arguments, device: torch.device) -> Row:
    """Take steps of one recipe and time them.

    Raises:
        torch.OutOfMemoryError: the device has too little for one step.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    target = random_clip(arguments.tiny, recipe.mlp.precision == "bf16", device)
    state = TrainingState(recipe, 0, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # What does not compile is said in the table.
        for _ in range(arguments.warm_up):
            step = take_step(state, [target])
    seconds = []
    # The rows to compare with are slower by far, and vary as little.
    for _ in range(arguments.steps if recipe.mlp.compiled or arguments.tiny else min(arguments.steps, COMPARED_STEPS)):
        seconds.append(clock(lambda: take_step(state, [target]), device))
    step = take_step(state, [target])
    pictures, guide = time_guide(state, target, device)
    assert isinstance(state.field, MlpField)
    notes = "layers recomputed" if recipe.mlp.checkpoint_layers else "layers kept"
    if recipe.mlp.compiled:
        fault = state.field.batched.fault
        notes += f"; not compiled: {fault}" if fault else "; compiled"
    occupied = float(state.occupancy.float().mean())
    return Row(name, tuple(seconds), pictures, guide, peak_gigabytes(device), step.opacity, occupied, notes)


def random_clip(tiny: bool, bf16: bool, device: torch.device) -> Target:
    """Make a CLIP ViT-B/16 with random weights, or a tiny one, and something for it to find."""
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 8, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    text |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    if tiny:
        vision = tower | {"image_size": 32, "patch_size": 16}
    else:
        vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
        vision |= {"image_size": 224, "patch_size": 16}
    torch.manual_seed(0)
    # The text tower looks once, at a single sentence, so a small one does.
    config = transformers.CLIPConfig(
        text_config=text | {"num_attention_heads": 2}, vision_config=vision, projection_dim=8 if tiny else 512
    )
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "teapot": 2, "</s>": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=8, **marks)
    model = transformers.CLIPModel(config).to(torch.bfloat16 if bf16 else torch.float32)
    size = int(vision["image_size"])
    clip = ClipGuidance(model, tokenizer, replace(CLIP_PREPROCESSING, size=size), "clip:random").to(device)
    return Target(clip, PromptEmbeddings(clip.encode_text(["teapot"])[None]), 1.0)


def time_guide(state: TrainingState, target: Target, device: torch.device) -> tuple[float, float]:
    """Return the median seconds of making a step's pictures, and of the guide's way to a score and back."""
    recipe, size = state.recipe, target.guidance.image_size
    with torch.no_grad():
        cameras = sample_cameras(recipe.cameras, 1, seeded_generator(0, "cameras"), state.target)
        view = render(state.field, cameras, recipe.render.size, 16)
    made: list[Tensor] = []
    pictures = [
        clock(lambda: made.append(crop_and_compose(view, recipe, size, seeded_generator(0, "pictures"))), device)
        for _ in range(5)
    ]
    shown = made[-1].detach().requires_grad_()

    def look() -> None:
        target.guidance.score(shown, target.embeddings.table[0, 0]).mean().backward()  # type: ignore[no-untyped-call]

    return statistics.median(pictures), statistics.median([clock(look, device) for _ in range(5)])


def clock(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that some work takes, its last kernel included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def quick(tiny: bool, device: torch.device) -> tuple[float, float]:
    """Return the seconds of `quick` as a user runs it, from start to last file, and of its steps alone."""
    small = ["--guidance.name", "toy", "--steps", "2", "--render.size", "16", "--export.mesh-cells", "16"]
    small += ["--export.video-frames", "2", "--export.video-size", "16", "--export.sheet-size", "16"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "dreamfields", "generate", "a teapot", "--out", folder]
        command += ["--device", device.type, *(small if tiny else [])]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        # After a few steps there may be no surface to take away; all the rest has been done then.
        if done.returncode != 0 and not (tiny and done.returncode == DegenerateError.exit_code):
            raise SystemExit(f"quick ended with status {done.returncode}: {done.stderr.strip()}")
        (record,) = Path(folder).glob("*/run.json")
        return seconds, float(json.loads(record.read_text())["seconds"])


def report(arguments: Arguments, device: torch.device, rows: list[Row], quick_seconds: tuple[float, float]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"# The paper's steps on {hardware(device)}",
        "",
        f"{date.today()}, torch {torch.__version__}, Python {platform.python_version()}, dreamfields "
        f"{dreamfields.__version__}. CLIP ViT-B/16 with random weights; {arguments.steps} steps timed after "
        f"{arguments.warm_up}, {COMPARED_STEPS} at most of what is not compiled, one process.",
        "",
        *(["**Tiny sizes on a CPU: the figures mean nothing.**", ""] if arguments.tiny else []),
        "| recipe | median s a step | mean | slowest | pictures s | guide s | 10,000 steps, hours | peak GB | opacity "
        "| cells sampled | notes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = [statistics.median(row.seconds), statistics.fmean(row.seconds), max(row.seconds)]
        figures += [row.pictures, row.guide]
        lines.append(
            f"| {row.name} | {' | '.join(f'{figure:.4f}' for figure in figures)} | {row.ten_thousand:.2f} "
            f"| {row.peak_gb:.1f} | {row.opacity:.2f} | {row.occupied:.0%} | {row.notes} |"
        )
    exact, skipping = rows[0].ten_thousand, rows[1].ten_thousand
    gain = exact / skipping if skipping > 0.0 and math.isfinite(exact) else float("nan")
    lines += [
        "",
        f"Leaving empty cells out makes a step {gain:.2f} times as fast here; a scene empties over the first 500 steps "
        "and then stays so, so a whole run gains more than its first steps.",
        "",
        f"`quick`, from start to last file: {quick_seconds[0]:.1f} s, of which {quick_seconds[1]:.1f} s are its steps.",
        "",
    ]
    return "\n".join(lines)


def hardware(device: torch.device) -> str:
    """Return what computes, in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def slug(name: str) -> str:
    """Return a name for a file."""
    return "-".join(name.lower().split())


def peak_gigabytes(device: torch.device) -> float:
    """Return the most memory held so far: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
