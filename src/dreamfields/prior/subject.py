"""The central noun phrase of a prompt, by which its shape is looked up: "a castle made of cheese" is a castle."""

import re
from typing import Final

_ENDS: Final = (
    *("with", "without", "in", "inside", "on", "onto", "at", "by", "under", "over", "above", "below", "behind", "near"),
    *("beside", "next", "between", "against", "from", "for", "to", "into", "through", "during", "that"),
    *("which", "who", "whose", "while", "as", "made", "built", "carved", "covered", "filled", "full", "shaped"),
    *("wearing", "holding", "carrying", "riding", "sitting", "standing", "lying", "eating", "playing", "looking"),
    *("and", "or", "are", "is", "has", "have"),
)
"""Words after which a noun phrase says no more what a thing is."""
ARTICLES: Final = ("a", "an", "the", "some", "one", "two", "three", "four", "several", "many")
_JOINED: Final = ("and", "or")  # These end a noun phrase after its noun only: "a red and white lighthouse"
_DESCRIBED: Final = re.compile(r"[,.;:()!?]")


def central_phrase(prompt: str) -> str:
    """Return the words of a prompt that name its thing, with its article: all up to a word or sign that ends them.

    A prompt that has none of these is returned whole, and so is one that begins with them.
    """
    words = _DESCRIBED.split(prompt.strip(), maxsplit=1)[0].split() or prompt.split()
    first = 1 if words and words[0].lower() in ARTICLES else 0
    for index in range(first + 1, len(words)):
        word = words[index].lower()
        if word in _JOINED and index + 2 < len(words) and _adjoins(words[index + 1 :]):
            continue
        if word in _ENDS:
            return " ".join(words[:index])
    return " ".join(words)


def central_phrases(prompt: str) -> tuple[str, ...]:
    """Return the central phrase, then without its first word, without its second, and so on, each with the article.

    Of "a tall red lighthouse": that, "a red lighthouse", "a lighthouse". Nothing is left out from an "of" on; what
    follows it comes last, for "a marble statue of a lion" looks like "a statue of a lion" or else like "a lion".
    """
    words = central_phrase(prompt).split()
    article = words[:1] if words[0].lower() in ARTICLES else []
    described = words[len(article) :]
    head = next((index for index, word in enumerate(described) if word.lower() == "of"), len(described))
    parts = [described[index:] for index in range(max(head, 1))]
    phrases = [" ".join([*article, *part]) for part in parts if part and part[0].lower() not in _JOINED]
    shown = described[head + 1 :] if head > 0 else []
    return (*phrases, *(central_phrases(" ".join(shown)) if shown else ())) or (prompt,)


def _adjoins(rest: list[str]) -> bool:
    """Tell whether what follows an "and" goes on with the same phrase: no article, and more than one word."""
    return rest[0].lower() not in ARTICLES and rest[1].lower() not in _ENDS
