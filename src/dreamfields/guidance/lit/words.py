"""Which words MiniLM, the text tower of `lit`, can read, found out without torch.

It was trained on English. Its vocabulary also holds the letters of some other scripts, but no words of theirs: spelt
letter by letter, all of them have much the same embedding. So a word with any letter that is not Latin is unknown.
"""

import unicodedata
import zipfile
from functools import cache
from typing import TYPE_CHECKING

from dreamfields.guidance.lit.weights import MINILM, package_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN = "[UNK]"  # The token of all that the vocabulary lacks
_MAX_TOKENS = 256


@cache
def load_tokenizer() -> "Tokenizer":
    """Return the tokenizer of the installed package. Raises MissingPackageError: the package is not installed."""
    from tokenizers import Tokenizer

    with zipfile.ZipFile(package_file(MINILM)) as archive:
        tokenizer = Tokenizer.from_buffer(archive.read("tokenizer.json"))
    tokenizer.enable_truncation(max_length=_MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def unknown_words(text: str) -> tuple[str, ...]:
    """Return the words of a text that the text tower cannot read. Raises MissingPackageError as `load_tokenizer`."""
    return tuple(word for word in text.split() if not _is_known(word))


def _is_known(word: str) -> bool:
    letters = [letter for letter in unicodedata.normalize("NFC", word) if letter.isalpha()]
    if not all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters):
        return False
    return UNKNOWN not in load_tokenizer().encode(word).tokens
