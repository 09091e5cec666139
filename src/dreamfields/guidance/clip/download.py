"""Asking the hub for something, without ever waiting for long; used by `models download` alone.

The hub's own client asks again and again: half a minute where a connection is refused, minutes where nobody answers.
So what a model's files are is asked here first, once and within `TIMEOUT_S`, and their download is watched.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dreamfields.errors import MissingPackageError

TIMEOUT_S = 3.0
"""Seconds the hub has to answer."""
_STALL: Final = 4.0
"""Seconds without a byte after which a download that has hardly begun is given up; one under way gets five times as
long."""
_UNDER_WAY: Final = 1_000_000
_LARGEST_ANSWER: Final = 20_000_000
_MEANINGS: Final[Mapping[int, str]] = {
    401: "it does not exist there, or is private (401)",
    403: "access is refused (403); its page there may ask to accept terms",
    404: "there is no such model or revision (404)",
}
_REMEDIES: Final = "connect, set HF_ENDPOINT to a mirror, or copy its folder here and name it as clip:/path/to/folder"

_CLIENT: Final = """
import sys
from huggingface_hub import snapshot_download
place, revision, cache, *patterns = sys.argv[1:]
try:
    sys.stdout.write(snapshot_download(place, revision=revision, cache_dir=cache, allow_patterns=patterns))
except BaseException as error:
    sys.stdout.write((str(error).strip().splitlines() or [type(error).__name__])[0])
    sys.exit(1)
"""
"""Prints where the files are, or in one line why they are not."""


@dataclass(frozen=True)
class Announced:
    """What the hub says of one file."""

    size: int | None
    """In bytes; None where it does not say."""
    sha256: str | None
    """None where it does not say, as of small files."""


def fetch_metadata(model_id: str, revision: str) -> dict[str, Announced]:
    """Return what the hub says of a model's files, by name.

    Raises:
        MissingPackageError: it cannot be reached, does not answer in time, has no such model, or makes no sense.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise MissingPackageError(f"cannot download {model_id}: HF_HUB_OFFLINE is set; {_REMEDIES}")
    address = f"{constants.ENDPOINT}/api/models/{model_id}/revision/{revision}?blobs=true"
    found: list[bytes | str] = []
    # In a thread of its own, for resolving a name and a trickle of bytes have no time limit.
    asking = threading.Thread(target=lambda: found.append(_get(address, constants.ENDPOINT)), daemon=True)
    asking.start()
    asking.join(TIMEOUT_S + 0.5)
    answer = found[0] if found else f"{constants.ENDPOINT} did not answer in {TIMEOUT_S:.0f} seconds"
    if isinstance(answer, str):
        raise MissingPackageError(f"cannot download {model_id}: {answer}; {_REMEDIES}")
    try:
        files = json.loads(answer)["siblings"]
        return {str(one["rfilename"]): _announced(one) for one in files}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MissingPackageError(
            f"cannot download {model_id}: what {constants.ENDPOINT} answers is not what a hub would; {_REMEDIES}"
        ) from error


def _announced(file: Mapping[str, Any]) -> Announced:
    large = file.get("lfs") or {}
    return Announced(file.get("size"), large.get("sha256"))


def _get(address: str, endpoint: str) -> bytes | str:
    """Return what an address answers, or in words why it does not."""
    # Imported here because they would take a good part of the time of --help.
    import http.client
    import urllib.error
    import urllib.request

    from huggingface_hub import get_token

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_S) as response:
            return bytes(response.read(_LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        meaning = _MEANINGS.get(error.code) or str(error.reason).splitlines()[0] + f" ({error.code})"
        return f"{endpoint} says that {meaning}" if error.code in _MEANINGS else f"{endpoint} fails: {meaning}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{endpoint} cannot be reached ({getattr(error, 'reason', error)})"


def fetch(model_id: str, revision: str, patterns: Sequence[str], folder: Path) -> Path:
    """Let the hub's client fetch a model's files, and give it up when nothing comes any more.

    Args:
        model_id: the model's id.
        revision: branch, tag or commit.
        patterns: names of the files that are wanted.
        folder: where the client keeps this model in the cache.

    Raises:
        TimeoutError: for a while, nothing came.
        OSError: the client failed; in its words.
    """
    from huggingface_hub import constants

    # In a process of its own, which can be ended: the client's threads would go on, and keep this one from ending.
    command = [sys.executable, "-c", _CLIENT, model_id, revision, constants.HF_HUB_CACHE, *patterns]
    quiet = {} if sys.stderr.isatty() else {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    spoken = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_VERBOSITY": "critical", **quiet}
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **spoken})
    try:
        held, since = _bytes_in(folder), time.monotonic()
        while client.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(0.1)
            now = _bytes_in(folder)
            if now != held:
                held, since = now, time.monotonic()
            patience = _STALL * (5.0 if held > _UNDER_WAY else 1.0)
            if time.monotonic() - since > patience:
                raise TimeoutError(f"nothing came for {patience:.0f} seconds")
    finally:
        client.kill()
        said, _ = client.communicate()
    if client.returncode != 0:
        raise OSError(said.strip() or f"the hub's client ended with status {client.returncode}")
    return Path(said.strip())


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # It has just been renamed.
            continue
    return total
