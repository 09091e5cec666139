"""The terminal: text is printed as it is, and an error is one line and an exit code."""

import io
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TextIO, cast, final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dreamfields.errors import DegenerateError, DreamfieldsError, StorageError

DEBUG: Final = "DREAMFIELDS_DEBUG"
"""Environment variable; if it is set, errors of the program itself are shown with their traceback."""
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "not enough memory")
_BIDI_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass
class Outcome:
    """How a command ended."""

    code: int = 0


@contextmanager
def guarded(errors: Console) -> Iterator[Outcome]:
    """Turn what is raised inside into one line of text and an exit code; see `dreamfields.errors`."""
    outcome = Outcome()
    try:
        yield outcome
    except DreamfieldsError as error:
        outcome.code = error.exit_code
        say(errors, f"dreamfields: {error}")
    except KeyboardInterrupt:
        outcome.code = 130
        say(errors, "dreamfields: stopped")
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        outcome.code, sentence = _unforeseen(error)
        say(errors, f"dreamfields: {sentence}")


def say(console: Console, text: str) -> None:
    """Print a text as it is, on one line: nothing in it is read as markup, and nothing is wrapped."""
    console.out(one_line(text), highlight=False)


def say_table(
    console: Console, title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], caption: str = ""
) -> None:
    """Print a table; nothing in its texts is read as markup, and its first column is not wrapped."""
    table = Table(title=Text(one_line(title)), caption=Text(one_line(caption)))
    for heading in headings:
        table.add_column(heading, no_wrap=heading == headings[0])
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console.print(table)


def one_line(text: str) -> str:
    """Return text with control characters, which could move the cursor or reverse the text, written as escapes."""
    return "".join(
        one.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or one in _BIDI_CONTROLS
        else one
        for one in text
    )


def console_on(stream: TextIO | None) -> Console:
    """Return a console that never ends the program, whatever becomes of the terminal.

    It escapes letters that the encoding lacks, and drops what cannot be written: without a stream or a reader, or on a
    full disk.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return Console(file=cast(TextIO, _ForgivingStream(stream or io.StringIO())), highlight=False)


@final
class _ForgivingStream:
    """A stream that drops what can no longer be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(partial(self._stream.write, text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        if not self._lost:
            try:
                action()
            except OSError:
                self._lost = True
                # Otherwise the interpreter flushes it at its end, and complains.
                with suppress(OSError):
                    self._stream.close()


def _unforeseen(error: Exception) -> tuple[int, str]:
    """Return exit code and sentence for an error of the system or of the program itself."""
    if isinstance(error, OSError):
        sentence = f"the system refused something: {error}; check the disk and the permissions, then try again"
        return StorageError.exit_code, sentence
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
        sentence = "there is not enough memory; lower --render.size, --render.samples or --optimize.views"
        return DegenerateError.exit_code, sentence
    said = f"{type(error).__name__}: {error}"
    sentence = f"a mistake of the program itself ({said[:300]}); set {DEBUG}=1 to see where, and please report it"
    return DreamfieldsError.exit_code, sentence
