"""Settings of guidance: which models score the images, and the prompts beside the main one."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from dreamfields.errors import UsageError
from dreamfields.guidance.ensemble import parse_members
from dreamfields.guidance.prompts import clean_text, parse_azimuth_prompts, wordings
from dreamfields.settings import Range, Rising, Settings

Mode = Literal["closed-form", "adapters", "both"]
Precision = Literal["fp32", "bf16"]
Asked = Literal["auto", "always", "never"]

_MOST_TEXTS: Final = 100  # Of paraphrases, and of azimuth prompts
_MOST_CHARACTERS: Final = 20_000  # Of all texts of `PromptSettings` together: each checkpoint's manifest holds them


@dataclass(frozen=True)
class GuidanceSettings(Settings):
    """The models that score how well an image matches the prompt."""

    name: str = "lit"
    """`lit`: locked image towers with MiniLM sentences, from installed packages. `clip:FOLDER-OR-ID`: a CLIP, SigLIP or
    similar model, in a folder or downloaded before. `toy`: colour words without weights, for tests. Several, each with
    its weight and the fraction of the steps after which it guides: `lit:2+clip:/models/b16:1@0.3`."""
    mode: Mode = "both"
    """How `lit` scores: in closed form (the class names nearest to the prompt), by adapters trained on captions, or by
    the mean of both, in which the closed form weighs the more the nearer the prompt is to the name of a class."""
    adapters: tuple[str, ...] = ()
    """Files of `dreamfields lit train` instead of the packaged ones; the towers that guide are those they belong to."""
    precision: Precision = "fp32"
    """Number format of `clip` models; `bf16` is about twice as fast where the processor supports it."""
    image_size: Annotated[int, Range(32, 512)] = 176
    """Pixels a side of the images for `lit`; its towers were trained at 224 and 260, but half the area is half the
    time. A `clip` model has a size of its own."""
    size_jitter: Annotated[float, Range(0.0, 0.9)] = 0.3
    """Largest change of that size, either way, as a fraction of it; each step of `lit` draws a size."""
    batch_size: Annotated[int, Range(0, 100_000)] = 0
    """Images a model scores at a time: fewer take less memory and give the same gradient. 0 scores all at once."""
    alternate: bool = True
    """Let one model guide each step, in turn, instead of all of them: twice the steps in the same time."""
    sharpen: Annotated[tuple[float, float], Range(0.0, 1.0), Rising()] = (0.3, 0.8)
    """Fractions of the steps between which `lit` in closed form turns from comparing the wanted classes with the mean
    of all classes to comparing them with the strongest ones; equal fractions switch at once, (1, 1) never turns."""
    template: str = "a photo of {}"
    """The sentence for the text tower, with {} for the prompt. The embeddings of several wordings, separated by |, are
    averaged: `a photo of {}|a 3D render of {}`."""

    def faults(self) -> list[str]:
        """Return one sentence for each fault, those of the template and the name included."""
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
    """Prompts beside the main one; all are optional, and each works with every guidance."""

    negative_prompt: str = ""
    """What the object must not look like; only its part that is orthogonal to the prompt counts."""
    negative_weight: Annotated[float, Range(0.0, 10.0)] = 0.5
    """How far the embedding of the prompt is pushed away from that."""
    paraphrases: tuple[str, ...] = ()
    """Other words for the prompt; each step draws one of these or the prompt."""
    azimuth_prompts: tuple[str, ...] = ()
    """Wordings by azimuth, as WHERE:WORDING with {} for the prompt: `front:{}, front view`
    `side:{}, side view` `back:{}, back view`. WHERE may also be degrees; in between, neighbours are blended."""
    sides: Asked = "auto"
    """Whether each view must look like the side that it shows: front, side or back. `auto` asks where the guidance
    finds that the prompt has a front, which `lit` alone does, and no wordings by azimuth are given."""
    side_weight: Annotated[float, Range(0.0, 100.0)] = 12.0
    """How much that counts, relative to the prompt's score."""
    geometry_prompt: str = ""
    """What the textureless shape must look like; scored once a step, lit from a direction that changes."""
    geometry_weight: Annotated[float, Range(0.0, 1000.0)] = 0.5
    """Weight of that score, relative to the prompt's."""
    style: str = ""
    """Appended to the prompt and each paraphrase, after a comma."""

    def __post_init__(self) -> None:
        """Check every field and normalise all texts. Raises UsageError: a field cannot be used."""
        super().__post_init__()
        for name, texts in self.texts():
            # Under `collected_faults`, a text that cannot be used stays as it is.
            with contextlib.suppress(UsageError):
                cleaned = tuple(clean_text(text, name) for text in texts)
                object.__setattr__(self, name, cleaned if isinstance(getattr(self, name), tuple) else cleaned[0])

    def faults(self) -> list[str]:
        """Return one sentence for each fault, those of the texts included."""
        found = super().faults()
        for name, texts in self.texts():
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
        if (total := sum(len(text) for _, texts in self.texts() for text in texts)) > _MOST_CHARACTERS:
            found.append(
                f"{', '.join(name for name, _ in self.texts())} have {total} characters together; at most "
                f"{_MOST_CHARACTERS} are allowed, so shorten them"
            )
        return found

    def texts(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the name and the texts of each field that holds any of the right type."""
        for name in ("negative_prompt", "paraphrases", "azimuth_prompts", "geometry_prompt", "style"):
            value = getattr(self, name)
            texts = value if isinstance(value, tuple) else (value,)
            if value and all(isinstance(text, str) for text in texts):
                yield name, texts
