"""The border to the terminal: whatever goes wrong becomes one plain line there, and the right exit code."""

import io
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TextIO, cast, final

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


def console_on(stream: TextIO) -> Console:
    """Return a console that never ends the program, whatever becomes of the terminal.

    It spells out letters that the encoding lacks; what cannot be written any more, as the reader has left or the disk
    is full, goes unsaid.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return Console(file=cast(TextIO, _Forgiving(stream)), highlight=False)


@final
class _Forgiving:
    """A stream that takes whatever it is given, also when nobody does."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if not self._lost:
            with self._losing():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if not self._lost:
            with self._losing():
                self._stream.flush()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._lost = True
            # Or the interpreter would try once more at its end, and complain.
            with suppress(OSError):
                self._stream.close()


def _of_ours(error: Exception) -> tuple[int, str]:
    """Return exit code and sentence for what nobody foresaw."""
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
        sentence = "there is not enough memory; lower --render.size, --render.samples or --optimize.views"
        return DegenerateError.exit_code, sentence
    said = f"{type(error).__name__}: {error}"
    sentence = f"a mistake of the program itself ({said[:300]}); set {DEBUG}=1 to see where, and please report it"
    return DreamfieldsError.exit_code, sentence


def _say(errors: Console, sentence: str) -> None:
    errors.print(one_line(f"dreamfields: {sentence}"), soft_wrap=True, markup=False)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS_TEXT


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
