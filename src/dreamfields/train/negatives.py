"""Hard negatives: sentences that differ from a caption in one fact, and so are false of its picture.

Among the captions of a batch hardly one has the same thing in another colour, or seen from another side, so that a
batch teaches these words slowly (Yuksekgonul et al., ICLR 2023). `fit.negatives_loss` learns from what is made here.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from dreamfields.optimize.randomness import derive_seed
from dreamfields.train.colours import NAMED
from dreamfields.train.looks import WORDINGS

MOST: Final = 4  # Hard negatives of one caption, at most
_OTHER_COLOURS: Final = 2
# The longest first: "dark red" before "red".
_COLOUR: Final = re.compile(r"\b(" + "|".join(sorted([*NAMED, "gray"], key=len, reverse=True)) + r")\b")
_ARTICLE: Final = re.compile(r"\ban? $")  # Right before a word


def hard_negatives(caption: str) -> tuple[str, ...]:
    """Return at most `MOST` sentences that say another side or another colour; none where a caption says neither."""
    return (*dict.fromkeys([*_other_sides(caption), *_other_colours(caption)]),)


def _other_sides(caption: str) -> list[str]:
    for side, wordings in WORDINGS.items():
        for index, wording in enumerate(wordings):
            before, after = wording.split("{}")
            if caption.startswith(before) and caption.endswith(after):
                subject = caption.removeprefix(before).removesuffix(after)
                return [others[index].format(subject) for other, others in WORDINGS.items() if other != side]
    return []


def _other_colours(caption: str) -> list[str]:
    """Return a caption with two of its colours in each other's place, if they are of two things, and with one replaced.

    A "red and white" thing is white and red as well.
    """
    said = [match.span() for match in _COLOUR.finditer(caption)]
    words = [caption[begin:end] for begin, end in said]
    if not words:
        return []
    draws = np.random.default_rng(derive_seed(0, f"other colours of {caption}"))
    known = {_basic(word) for word in words}
    free = [word for word in NAMED if _basic(word) not in known]
    apart = len(words) > 1 and words[0] != words[1] and caption[said[0][1] : said[1][0]] != " and "
    chosen = [[words[1], words[0], *words[2:]]] if apart else []
    for other in draws.choice(free, _OTHER_COLOURS - len(chosen), replace=False).tolist():
        place = int(draws.integers(len(words)))
        chosen.append([*words[:place], str(other), *words[place + 1 :]])
    return [_with_words(caption, said, new) for new in chosen]


def _with_words(caption: str, said: Sequence[tuple[int, int]], words: Sequence[str]) -> str:
    """Return a caption with other words at the given places, and the articles that fit them."""
    parts, done = list[str](), 0
    for (begin, end), word in zip(said, words, strict=True):
        article = "an " if word[0] in "aeiou" else "a "
        parts += [_ARTICLE.sub(article, caption[done:begin]), word]
        done = end
    return "".join([*parts, caption[done:]])


def _basic(word: str) -> str:
    """Return the colour of a word without "light" and "dark", which do not contradict it."""
    return word.split()[-1].replace("gray", "grey")
