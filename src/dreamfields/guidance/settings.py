"""Settings of guidance: which models look, how a prompt is put to them, and what is asked besides it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from dreamfields.errors import UsageError
from dreamfields.guidance.azimuth_prompts import parse_azimuth_prompts
from dreamfields.guidance.ensemble import parse_members
from dreamfields.guidance.prompts import clean_text, wordings
from dreamfields.settings import Range, Rising, Settings

Bridge = Literal["classes", "features", "both"]
Mode = Literal["closed-form", "adapters", "both"]
Precision = Literal["fp32", "bf16"]

_MOST_TEXTS: Final = 100
"""Paraphrases, or wordings by azimuth."""
_MOST_CHARACTERS: Final = 20_000
"""Of all texts of `PromptSettings` together: each checkpoint says what it is made from, these among it."""


@dataclass(frozen=True)
class GuidanceSettings(Settings):
    """The models that say how well a picture matches the prompt."""

    name: str = "lit"
    """`lit`: locked image towers bridged to MiniLM, from installed packages. `clip:FOLDER-OR-ID`: a CLIP, SigLIP or the
    like, from a folder or downloaded before. `toy`: weightless colours, for tests. Several, each with its weight and
    the share of the steps from which it is asked: `lit:2+clip:/models/b16:1@0.3`."""
    bridge: Bridge = "classes"
    """How `lit` ties text to pictures: `classes` (as ConSE), `features` (as DeViSE), or the mean of both scores."""
    mode: Mode = "both"
    """What `lit` scores by: the bridge above, adapters trained on captions, or the mean of both scores
    (of a prompt that is only the name of a class the bridge's alone)."""
    adapters: tuple[str, ...] = ()
    """Files of `dreamfields lit train` in place of the shipped ones; the towers that guide are those they belong to."""
    precision: Precision = "fp32"
    """Numbers that `clip` models compute with; `bf16` is about twice as fast where the processor has it."""
    image_size: Annotated[int, Range(32, 512)] = 176
    """Pixels a side at which the towers of `lit` look; they were trained at 224 and 260, but half the area is half the
    time. A `clip` model has a size of its own."""
    size_jitter: Annotated[float, Range(0.0, 0.9)] = 0.3
    """Largest change of that size, either way, as a share of it; `lit` looks at another size each step."""
    batch_size: Annotated[int, Range(0, 100_000)] = 0
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


@dataclass(frozen=True)
class PromptSettings(Settings):
    """What is asked besides the prompt; by default nothing, and each of these works with every guidance."""

    negative_prompt: str = ""
    """What the object must not look like; only what it says besides the prompt counts."""
    negative_weight: Annotated[float, Range(0.0, 10.0)] = 0.5
    """How far to push away from that, against the pull of the prompt."""
    paraphrases: tuple[str, ...] = ()
    """Other words for the same; each step draws one of these and the prompt."""
    azimuth_prompts: tuple[str, ...] = ()
    """What it is called from where, as WHERE:WORDING with {} for the prompt: `front:{}, front view`
    `side:{}, side view` `back:{}, back view`. WHERE may also be degrees; in between, both neighbours count."""
    geometry_prompt: str = ""
    """What the shape alone must look like, in plaster, lit from a side that changes: seen once a step."""
    geometry_weight: Annotated[float, Range(0.0, 1000.0)] = 0.5
    """Weight of that score, against the prompt's."""
    style: str = ""
    """Written behind the prompt and each paraphrase, after a comma."""

    def __post_init__(self) -> None:
        """Check every field and bring all texts into the form of prompts.

        Raises:
            UsageError: a field cannot be used.
        """
        super().__post_init__()
        for name, texts in self._texts():
            # Where faults are collected, a text that cannot be used stays as it is.
            with contextlib.suppress(UsageError):
                cleaned = tuple(clean_text(text, name) for text in texts)
                object.__setattr__(self, name, cleaned if isinstance(getattr(self, name), tuple) else cleaned[0])

    def faults(self) -> list[str]:
        """Return one sentence for each fault, those of the texts among them."""
        found = super().faults()
        for name, texts in self._texts():
            try:
                cleaned = [clean_text(text, name) for text in texts]
                if not all(cleaned):
                    raise UsageError(f"{name} holds a text with nothing to read in it; leave it out")
                if name == "azimuth_prompts":
                    parse_azimuth_prompts(cleaned)
            except UsageError as error:
                found.append(str(error))
            if len(texts) > _MOST_TEXTS:
                found.append(f"{name} holds {len(texts)} texts; at most {_MOST_TEXTS} are allowed")
        total = sum(len(text) for _, texts in self._texts() for text in texts)
        if total > _MOST_CHARACTERS:
            found.append(
                f"{', '.join(name for name, _ in self._texts())} have {total} characters together; at most "
                f"{_MOST_CHARACTERS} are allowed, so shorten them"
            )
        return found

    def _texts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the name and the texts of each field that holds any, unless it is of a wrong type."""
        for name in ("negative_prompt", "paraphrases", "azimuth_prompts", "geometry_prompt", "style"):
            value = getattr(self, name)
            texts = value if isinstance(value, tuple) else (value,)
            if value and all(isinstance(text, str) for text in texts):
                yield name, texts
