"""The border to the terminal: whatever goes wrong becomes one plain line there, and the right exit code."""

import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TextIO

from rich.console import Console

from dreamfields.errors import DegenerateError, DreamfieldsError, StorageError

DEBUG: Final = "DREAMFIELDS_DEBUG"
"""Environment variable; set to anything, mistakes of ours show where they were made."""
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")
_TURNS_TEXT: Final = frozenset(
    "\N{LEFT-TO-RIGHT OVERRIDE}\N{RIGHT-TO-LEFT OVERRIDE}\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
)


@dataclass
class Outcome:
    """How a command ended."""

    code: int = 0


@contextmanager
def guarded(errors: Console) -> Iterator[Outcome]:
    """Turn what is raised inside into one line on the console of errors and an exit code; see `dreamfields.errors`."""
    outcome = Outcome()
    try:
        yield outcome
    except DreamfieldsError as error:
        outcome.code = error.exit_code
        _say(errors, str(error))
    except KeyboardInterrupt:
        outcome.code = 130
        _say(errors, "stopped")
    except BrokenPipeError:
        outcome.code = StorageError.exit_code
        _say(errors, "the program that read the output has ended; nobody reads on")
        _forget_output()
    except OSError as error:
        if os.environ.get(DEBUG):
            raise
        outcome.code = StorageError.exit_code
        _say(errors, f"the system refused something: {error}; check the disk and the permissions, then try again")
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        outcome.code, sentence = _of_ours(error)
        _say(errors, sentence)


def one_line(text: str) -> str:
    """Return text as it may go to a terminal: what would move the cursor, turn or break the line is spelt out."""
    return "".join(_spelt(character) if _is_unsafe(character) else character for character in text)


def plain_where_needed(*streams: TextIO) -> None:
    """Let letters that a terminal's encoding lacks be spelt out instead of stopping the program."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _of_ours(error: Exception) -> tuple[int, str]:
    """Return exit code and sentence for what nobody foresaw."""
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
        sentence = "there is not enough memory; lower --render.size, --render.samples or --optimize.views"
        return DegenerateError.exit_code, sentence
    said = f"{type(error).__name__}: {error}"
    sentence = f"a mistake of the program itself ({said[:300]}); set {DEBUG}=1 to see where, and please report it"
    return DreamfieldsError.exit_code, sentence


def _say(errors: Console, sentence: str) -> None:
    with suppress(OSError):
        errors.print(one_line(f"dreamfields: {sentence}"), soft_wrap=True, markup=False)


def _forget_output() -> None:
    """Close an output that nobody reads, so that the interpreter's own last flush of it is quiet."""
    with suppress(OSError):
        sys.stdout.close()


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS_TEXT


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
