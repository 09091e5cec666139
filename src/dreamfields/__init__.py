"""Dream Fields on any machine: optimises a 3D object for a sentence.

>>> import dreamfields
>>> run = dreamfields.generate("a teapot", preset="quick", seed=0)  # in runs/a-teapot-0  # doctest: +SKIP

Names are loaded when first used, so importing the package is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamfields.api import Run, configure, generate, load, start
    from dreamfields.config import Config
    from dreamfields.errors import DreamfieldsError
    from dreamfields.evaluate.classifier import Judge, Judgement
    from dreamfields.export.mesh.mesh import Mesh
    from dreamfields.guidance.settings import PromptSettings
    from dreamfields.optimize.loop import Step
    from dreamfields.optimize.settings import Recipe
    from dreamfields.presets import PRESETS
    from dreamfields.render.renderer import Rendering
    from dreamfields.scene.cameras import Camera

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Camera",
    "Config",
    "DreamfieldsError",
    "Judge",
    "Judgement",
    "Mesh",
    "PromptSettings",
    "Recipe",
    "Rendering",
    "Run",
    "Step",
    "__version__",
    "configure",
    "generate",
    "load",
    "start",
]

_HOMES = {
    "PRESETS": "dreamfields.presets",
    "Camera": "dreamfields.scene.cameras",
    "Config": "dreamfields.config",
    "DreamfieldsError": "dreamfields.errors",
    "Judge": "dreamfields.evaluate.classifier",
    "Judgement": "dreamfields.evaluate.classifier",
    "Mesh": "dreamfields.export.mesh.mesh",
    "PromptSettings": "dreamfields.guidance.settings",
    "Recipe": "dreamfields.optimize.settings",
    "Rendering": "dreamfields.render.renderer",
    "Run": "dreamfields.api",
    "Step": "dreamfields.optimize.loop",
    "configure": "dreamfields.api",
    "generate": "dreamfields.api",
    "load": "dreamfields.api",
    "start": "dreamfields.api",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first access."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return sorted(__all__)
