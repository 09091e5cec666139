"""The models that guide a run: they stay the same for all of it, and words that they cannot read are notes."""

import torch

from dreamfields.errors import MissingPackageError
from dreamfields.guidance.base import Guide
from dreamfields.guidance.ensemble import load_guides
from dreamfields.guidance.prompt_embeddings import all_sentences, asks_for_sides
from dreamfields.runs.record_file import RecordFile


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
        sides = asks_for_sides(model, config.prompt, config.prompts)
        sentences = all_sentences(config.recipe.guidance.template, config.prompt, config.prompts, sides)
        if words := model.unread_words(max(sentences, key=len)):
            file.notify(f'{model.name} cannot read the whole prompt; dropped: "{" ".join(words)}"')
        if unknown := dict.fromkeys(word for sentence in sentences for word in model.unknown_words(sentence)):
            file.notify(f'{model.name} does not know what these words mean: "{" ".join(unknown)}"')
    return guides
