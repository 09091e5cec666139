"""The commands of the command line and what each can be told; `cli` reads them, `commands` carries them out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dreamfields import paper, presets
from dreamfields.cli import models
from dreamfields.export.settings import ExportSettings, Pass
from dreamfields.guidance.settings import PromptSettings
from dreamfields.optimize.settings import Recipe
from dreamfields.train.settings import TuningSettings

Prompt = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
LitAction = Literal["train", "evaluate"]
RunPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class Generate:
    """Make a 3D object of a sentence: a folder with mesh, video, pictures and all that is needed to resume."""

    prompt: Prompt = ""
    """What to make, in quotes."""
    preset: str = presets.DEFAULT
    """draft (~30 s), quick (~2 minutes) or standard (~7 minutes), on two CPU cores; paper-lq, paper-mq or paper-hq,
    Dream Fields as published, for a GPU and a CLIP model."""
    seed: int = 0
    """Same seed, same machine, same object."""
    steps: int | None = None
    """Steps of the optimiser; the preset's if not given."""
    guidance: str | None = None
    """Who looks, such as lit or clip:FOLDER-OR-ID, short for --guidance.name; the preset's if not given."""
    out: Path = Path("runs")
    """Folder in which the run gets its own."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    prompts: Annotated[PromptSettings, tyro.conf.arg(name="")] = field(default_factory=PromptSettings)
    """What is asked besides the prompt."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")] = field(default_factory=Recipe)
    """How it is made."""
    export: ExportSettings = field(default_factory=ExportSettings)
    """What is kept."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, exactly where it stopped."""

    run: RunPath
    """The run's folder."""


@dataclass(frozen=True)
class Render:
    """Render a run's object from any side to a PNG."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The picture; RUN/render.png if not given."""
    azimuth_deg: float = 30.0
    """Degrees around the object; 0 is the front."""
    elevation_deg: float = 20.0
    """Degrees above the horizon."""
    size: int = 512
    """Pixels a side."""
    zoom: float = 1.0
    """How much larger than framed to fill the picture."""
    show: Pass = "colour"
    """What the picture shows: colour, opacity, depth, normal, or the shape alone, textureless."""
    transparent: bool = False
    """Leave the background out instead of painting it."""


@dataclass(frozen=True)
class Video:
    """Film a run's object along a camera's path."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The video; its ending is the format: .mp4, .webm, .gif or .webp. RUN/video.mp4 if not given."""
    path: Path | None = None
    """A JSON file with the camera's path: orbit, dolly-zoom, spiral or keyframes; one turn if not given."""
    show: Pass = "colour"
    """What it shows: colour, opacity, depth, normal, or the shape alone, textureless."""
    size: int = 384
    """Pixels a side."""
    fps: int = 24
    """Frames a second."""


@dataclass(frozen=True)
class Export:
    """Write a run's object as a mesh, or its raw field."""

    run: RunPath
    """The run's folder."""
    out: Path | None = None
    """The file; its ending is the format: .glb, .obj, .ply, .stl, .3mf, .usdz, .npz, or .html for a page that shows it.
    RUN/object.glb if not given."""
    size_mm: float = 100.0
    """Largest extent in millimetres, for .stl, .3mf and .usdz."""
    mesh_cells: int | None = None
    """Cells a side of the lattice the surface is found on; the run's if not given, as with all below."""
    max_faces: int | None = None
    """Triangles the mesh is simplified to."""
    level: float | None = None
    """Density at which the surface lies, in inverse scene units."""
    texture_size: int | None = None
    """Texels a side of the texture; 0 for vertex colours alone."""


@dataclass(frozen=True)
class View:
    """Show a run on a local page, live while it is made: latest render, score curve, the mesh to turn."""

    run: RunPath
    """The run's folder."""
    port: int = 8350
    """Port on 127.0.0.1; 0 takes a free one."""


@dataclass(frozen=True)
class Evaluate:
    """Let a model that never guides judge views of a run that were never trained on."""

    run: RunPath
    """The run's folder."""
    classes: tuple[str, ...] = ()
    """ImageNet class names that count as right; the one nearest to the prompt if not given."""


@dataclass(frozen=True)
class Retrieval:
    """Ask a judge for the own caption of each of several runs among 153, as Dream Fields was judged (R-Precision)."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNS")] = ()
    """Folders of runs, or folders that hold such."""
    judge: str = "lit"
    """Who judges: `lit` (a tower that never guides), or `clip:FOLDER-OR-ID`; never a model that guided a run."""
    out: Path = Path("retrieval")
    """Folder for retrieval.json and retrieval.html."""
    samples: int = paper.TEST_SAMPLES
    """Samples a ray; the paper's 512."""


@dataclass(frozen=True)
class Doctor:
    """Tell what this machine has and what is missing."""


@dataclass(frozen=True)
class Models:
    """List, download or verify models for clip guidance: models list | download ID | verify [ID]."""

    action: Annotated[models.Action, tyro.conf.Positional]
    """What to do."""
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")] = ""
    """The model's id on the hub, such as openai/clip-vit-base-patch16."""
    revision: str = "main"
    """Branch, tag or commit to download."""


@dataclass(frozen=True)
class Lit:
    """Train adapters for lit guidance, or measure some: lit train DATA... --out FILE | lit evaluate DATA."""

    action: Annotated[LitAction, tyro.conf.Positional]
    """What to do."""
    data: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = ()
    """Folders with pairs.jsonl and images.zip, or COCO captions as CAPTIONS.json:FOLDER; @N takes the first N only."""
    out: Path | None = None
    """Where `train` writes the adapters."""
    cache: Path | None = None
    """Folder for what the towers see, which takes most of the time; a stopped training goes on from it. If not given,
    dreamfields/lit among the user's caches: in $XDG_CACHE_HOME, or ~/.cache, or ~/Library/Caches on a Mac."""
    descriptions: Path | None = None
    """JSON with sentences about each ImageNet class, such as CuPL's; the class names alone if not given."""
    adapters: tuple[Path, ...] = ()
    """What `evaluate` measures; the shipped ones if not given."""
    count: int = 1000
    """Held-out pictures that `evaluate` takes."""
    settings: Annotated[TuningSettings, tyro.conf.arg(name="")] = field(default_factory=TuningSettings)
    """How `train` does it."""


HeavyCommand = Generate | Resume | Render | Video | Export | Evaluate | Retrieval | Doctor | Lit
Command = HeavyCommand | View | Models
