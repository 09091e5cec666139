"""The models that guide a run: they stay the same for all of it, and words that they cannot read are notes."""

import torch

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.base import Guide
from dreamfields.guidance.ensemble import load_guides
from dreamfields.guidance.prompt_embeddings import all_sentences, asks_for_sides
from dreamfields.optimize.objective import Target, make_targets
from dreamfields.runs.record_file import RecordFile


def recorded_targets(file: RecordFile, device: torch.device) -> list[Target]:
    """Load who guides a run, see `load_recorded`, and embed its prompts; what the run began as is recorded by then."""
    config, record = file.record.config, file.record
    guides = load_recorded(file, device)
    template = config.recipe.guidance.template
    return make_targets(guides, template, config.prompt, config.prompts, from_shape=record.from_shape)


def load_recorded(file: RecordFile, device: torch.device) -> list[Guide]:
    """Load who guides a run; record their names, digests of their weights, and which words they cannot read.

    Raises MissingPackageError: weights are not installed, or are not those that the run began with.
    """
    config = file.record.config
    guides = load_guides(config.recipe.guidance, device)
    names = tuple(guide.guidance.name for guide in guides)
    weights = tuple(guide.guidance.identity for guide in guides)
    for name, now, before in zip(names, weights, file.record.weights or weights, strict=False):
        if now != before:
            raise MissingPackageError(
                f"the files of {name} are not those that {file.directory.path} began with; put those back, or start a "
                "new run"
            )
    file.begin_session(names, weights)
    for model in (guide.guidance for guide in guides):
        sides = asks_for_sides(model, config.prompt, config.prompts, from_shape=file.record.from_shape)
        sentences = all_sentences(config.recipe.guidance.template, config.prompt, config.prompts, sides)
        if words := model.unread_words(max(sentences, key=len)):
            file.notify(f'{model.name} cannot read the whole prompt; dropped: "{" ".join(words)}"')
        if unknown := dict.fromkeys(word for sentence in sentences for word in model.unknown_words(sentence)):
            file.notify(f'{model.name} does not know what these words mean: "{" ".join(unknown)}"')
    return guides
