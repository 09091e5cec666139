"""Requests to the hub that end within seconds when it does not answer; used by `models download` only.

Whatever its timeouts, the hub's own client retries a silent server for a minute and waits for a slow one without limit.
So one request within `TIMEOUT_S` lists a model's files first, and their download is watched.
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
from typing import Final

from dreamfields.errors import MissingPackageError

TIMEOUT_S = 3.0  # Time in which the hub must answer
_STALL_S: Final = 4.0
"""Time without a byte after which a download is given up; five times as long once it holds `_UNDER_WAY` bytes."""
_UNDER_WAY: Final = 1_000_000
_LARGEST_ANSWER: Final = 20_000_000
_REASONS: Final[Mapping[int, str]] = {
    401: "it does not exist there, or is private (401)",
    403: "access is refused (403); its page there may ask to accept terms",
    404: "there is no such model or revision (404)",
}
_REMEDIES: Final = "connect, set HF_ENDPOINT to a mirror, or copy its folder here and name it as clip:/path/to/folder"

# Prints the folder of the files, or in one line why they could not be fetched.
_CLIENT: Final = """
import sys
from huggingface_hub import snapshot_download
model_id, revision, cache, *patterns = sys.argv[1:]
try:
    sys.stdout.write(snapshot_download(model_id, revision=revision, cache_dir=cache, allow_patterns=patterns))
except BaseException as error:
    sys.stdout.write((str(error).strip().splitlines() or [type(error).__name__])[0])
    sys.exit(1)
"""


@dataclass(frozen=True)
class HubFile:
    """The facts that the hub lists for one file; None where it lists none."""

    size: int | None  # In bytes
    sha256: str | None


def fetch_metadata(model_id: str, revision: str) -> dict[str, HubFile]:
    """Return the facts that the hub lists for a model's files, by name. Raises MissingPackageError: no list in time."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise MissingPackageError(f"cannot download {model_id}: HF_HUB_OFFLINE is set; {_REMEDIES}")
    url = f"{constants.ENDPOINT}/api/models/{model_id}/revision/{revision}?blobs=true"
    answers: list[bytes | str] = []
    # In a thread, because neither resolving a name nor a trickle of bytes has a time limit.
    thread = threading.Thread(target=lambda: answers.append(_get(url, constants.ENDPOINT)), daemon=True)
    thread.start()
    thread.join(TIMEOUT_S + 0.5)
    answer = answers[0] if answers else f"{constants.ENDPOINT} did not answer in {TIMEOUT_S:.0f} seconds"
    if isinstance(answer, str):
        raise MissingPackageError(f"cannot download {model_id}: {answer}; {_REMEDIES}")
    try:
        files = json.loads(answer)["siblings"]
        return {one["rfilename"]: HubFile(one.get("size"), (one.get("lfs") or {}).get("sha256")) for one in files}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MissingPackageError(
            f"cannot download {model_id}: what {constants.ENDPOINT} answers is not what a hub would; {_REMEDIES}"
        ) from error


def _get(url: str, endpoint: str) -> bytes | str:
    """Return what a URL answers, or a sentence that says why it does not."""
    # Imported here because they would take a good part of the time of --help.
    import http.client
    import urllib.error
    import urllib.request

    from huggingface_hub import get_token

    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S) as response:
            return bytes(response.read(_LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        if error.code in _REASONS:
            return f"{endpoint} says that {_REASONS[error.code]}"
        return f"{endpoint} fails: {str(error.reason).splitlines()[0]} ({error.code})"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"{endpoint} cannot be reached ({getattr(error, 'reason', error)})"


def fetch(model_id: str, revision: str, patterns: Sequence[str], folder: Path) -> Path:
    """Let the hub's client fetch files into the model's cache folder, and return the folder of the revision.

    Raises TimeoutError: no byte came for a while; OSError: the client failed, in its words.
    """
    from huggingface_hub import constants

    # In a process, because it can be killed: the client's threads would go on and keep this process from ending.
    command = [sys.executable, "-c", _CLIENT, model_id, revision, constants.HF_HUB_CACHE, *patterns]
    quiet = {} if sys.stderr.isatty() else {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    settings = {"HF_ENDPOINT": constants.ENDPOINT, "HF_HUB_VERBOSITY": "critical", **quiet}
    client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings})
    try:
        size, since = _bytes_in(folder), time.monotonic()
        while client.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(0.1)
            before, size = size, _bytes_in(folder)
            if size != before:
                since = time.monotonic()
            limit = _STALL_S * (5.0 if size > _UNDER_WAY else 1.0)
            if time.monotonic() - since > limit:
                raise TimeoutError(f"nothing came for {limit:.0f} seconds")
    finally:
        client.kill()
        output, _ = client.communicate()
    if client.returncode != 0:
        raise OSError(output.strip() or f"the hub's client ended with status {client.returncode}")
    return Path(output.strip())


def _bytes_in(folder: Path) -> int:
    total = 0
    # The client makes, renames and removes files and folders meanwhile. os.walk passes over a folder that has gone;
    # Path.rglob does not before Python 3.13.
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total
