"""What a run's field begins as: a blob, or the likely shape of what its prompt names, with a credit if one is due."""

from dataclasses import replace

from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.optimize.start import Start
from dreamfields.optimize.state import TrainingState
from dreamfields.prior.load import packaged_prior
from dreamfields.prior.lookup import KNOWN, look_up
from dreamfields.runs.record_file import RecordFile


def begin(file: RecordFile, state: TrainingState) -> None:
    """Give a state before its first step what its run starts from, and record that.

    Recorded are words, shape, cosine, the digest of the prior and, if the shape's licence asks for one, a credit.

    A state that has made a step is left alone; what it started from is in its checkpoints.

    Raises MissingPackageError: the prior or the model that reads its sentences is missing or not the recorded one.
    """
    config, init = file.record.config, file.record.config.recipe.init
    if not config.recipe.looks_up or state.step > 0 or state.attempt > 0 or state.start is not None:
        return
    prior = packaged_prior()
    prior = prior.without_credits() if init.licence == "cc0" else prior
    found = look_up(init.subject or config.prompt, prior, SentenceEncoder())
    taken = found.known or init.source == "prior" or init.subject != ""
    facts: dict[str, str | float] = {"source": "prior" if taken else "none", "subject": found.subject}
    facts |= {"shape": found.prediction.name, "cosine": round(found.prediction.cosine, 3), "prior": prior.identity}
    if found.stand_in:
        facts["looked_up"] = found.stand_in
    if taken and found.prediction.credit:
        facts["credit"] = found.prediction.credit
        file.notify(
            f"it starts from {facts['credit']}: name them where you show the object, as its files do, or start from "
            "shapes that ask for no credit: --init.licence cc0"
        )
    file.record = replace(file.record, start=facts)
    if taken:
        state.begin_from(Start(found.prediction.coarse))
        if not found.known:
            file.notify(
                f"the prior does not know {found.subject!r}: it starts from the nearest shape, {facts['shape']!r}, "
                f"at a cosine of {found.prediction.cosine:.2f}; things are known from {KNOWN}"
            )
