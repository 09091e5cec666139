"""`dreamfields sketch`: what the prior alone makes of a prompt."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from dreamfields.cli.command import Command
from dreamfields.cli.terminal import say
from dreamfields.guidance.prompts import clean_prompt
from dreamfields.prior.load import check_prior, check_words
from dreamfields.runs.directory import run_path


@dataclass(frozen=True)
class Sketch(Command):
    """Write the likely shape of what a prompt names, without any optimisation: what a run would start from."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """What to sketch, in quotes."""
    out: Path = Path("sketches")
    """Folder in which the sketch gets its own, with object.glb and contact_sheet.png."""

    licence: Literal["any", "cc0"] = "any"
    """Which shapes it may be: `cc0` leaves out those whose makers must be named."""

    def check_values(self) -> None:
        """Refuse a prompt that cannot be read."""
        clean_prompt(self.prompt)

    def check(self) -> None:
        """Make sure that the prior is there and can read a word of the prompt."""
        check_prior()
        check_words(clean_prompt(self.prompt), "the prompt")

    def run(self, console: Console) -> int:
        """Write the sketch, and say of what it is and whether a run would start from it."""
        from dreamfields.export.asset import Asset
        from dreamfields.export.formats.table import write_asset
        from dreamfields.export.pictures.stills import contact_sheet, picture_bytes
        from dreamfields.export.pictures.table import picture_format
        from dreamfields.guidance.lit.towers import SentenceEncoder
        from dreamfields.prior.load import packaged_prior
        from dreamfields.prior.lookup import look_up
        from dreamfields.render.occupancy import occupied_cells
        from dreamfields.runs.sketch import CELLS, SETTINGS, THRESHOLD, sketch_facts, sketch_field
        from dreamfields.storage import atomic_write

        prompt = clean_prompt(self.prompt)
        prior, sentences = packaged_prior(), SentenceEncoder()
        began = time.perf_counter()
        found = look_up(prompt, prior.without_credits() if self.licence == "cc0" else prior, sentences)
        field, facts = sketch_field(found.prediction.coarse), sketch_facts(prompt, found)
        occupancy = occupied_cells(field, CELLS, THRESHOLD)
        folder = run_path(self.out, prompt, 0)
        sheet, mesh = folder / "contact_sheet.png", folder / "object.glb"
        atomic_write(sheet, picture_bytes(contact_sheet(field, SETTINGS, occupancy), picture_format(sheet), facts))
        write_asset(Asset(field, SETTINGS, facts, occupancy), mesh, force=True)
        known = "" if found.known else "; that is not near enough, so a run would not start from it"
        say(
            console,
            f"this is the prior alone, in {time.perf_counter() - began:.1f} s: of {found.subject!r} it has the shape "
            f"of {found.prediction.name!r} (cosine {found.prediction.cosine:.2f}){known}",
        )
        if found.prediction.credit:
            say(console, f"name its maker where you show it: {found.prediction.credit}")
        say(console, f"wrote {sheet}")
        say(console, f"wrote {mesh}")
        return 0
