"""Settings of guidance: which models look, and how a prompt is put to them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from dreamfields.errors import UsageError
from dreamfields.guidance.prompts import wordings
from dreamfields.guidance.spec import parse_members
from dreamfields.settings import Range, Rising, Settings

Bridge = Literal["classes", "features", "both"]
Mode = Literal["closed-form", "adapters", "both"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class GuidanceSettings(Settings):
    """The models that say how well a picture matches the prompt."""

    name: str = "lit"
    """`lit`: locked image towers bridged to MiniLM, from installed packages. `clip:FOLDER-OR-ID`: a CLIP, SigLIP or the
    like, from a folder or downloaded before. `toy`: weightless colours, for tests. Several, each with its weight and
    the share of the steps from which it is asked: `lit:2+clip:/models/b16:1@0.3`."""
    bridge: Bridge = "classes"
    """How `lit` ties text to pictures: `classes` (as ConSE), `features` (as DeViSE), or the mean of both scores."""
    mode: Mode = "closed-form"
    """What `lit` scores by: the bridge above, adapters trained on captions, or the mean of both scores."""
    adapters: tuple[str, ...] = ()
    """Files of `dreamfields lit train` in place of the shipped ones; the towers that guide are those they belong to."""
    precision: Precision = "fp32"
    """Numbers that `clip` models compute with; `bf16` is about twice as fast where the processor has it."""
    image_size: Annotated[int, Range(32, 512)] = 176
    """Pixels a side at which the towers of `lit` look; they were trained at 224 and 260, but half the area is half the
    time. A `clip` model has a size of its own."""
    size_jitter: Annotated[float, Range(0.0, 0.9)] = 0.3
    """Largest change of that size, either way, as a share of it; `lit` looks at another size each step."""
    at_once: Annotated[int, Range(0, 100_000)] = 0
    """Pictures a model is shown at a time, the gradient being summed over a step: less memory, the same result. 0 shows
    all at once."""
    alternate: bool = True
    """Ask one model a step, in turn, instead of all of them: twice the steps in the same time."""
    sharpen: Annotated[tuple[float, float], Range(0.0, 1.0), Rising()] = (0.3, 0.8)
    """Shares of the steps between which the lead of `lit` turns from one over the mean of all classes to one over the
    strongest rivals; the same share twice jumps, and (1, 1) never turns."""
    template: str = "a photo of {}"
    """The sentence put to the text tower; {} stands for the prompt. Several wordings, parted by |, count as their
    mean: `a photo of {}|a 3D render of {}`."""

    def faults(self) -> list[str]:
        """Return one sentence for each fault; templates must have a place for the prompt, the name be readable."""
        found = super().faults()
        if isinstance(self.template, str) and not all("{}" in wording for wording in wordings(self.template)):
            found.append(f"template is {self.template!r}; it must contain {{}} where the prompt goes, in each wording")
        if isinstance(self.name, str):
            try:
                parse_members(self.name)
            except UsageError as error:
                found.append(str(error))
        return found
