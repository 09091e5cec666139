"""Reading checkpoint files that may be damaged or meant to do harm: manifests (JSON) and tensors (safetensors).

Nothing here runs code, waits, or reads more than a file of ours can hold; each claim of a file is checked before use.
"""

import json
from pathlib import Path
from typing import Any, Final

import safetensors.torch
from torch import Tensor

from dreamfields.storage import read_regular

LARGEST_MANIFEST: Final = 1_000_000
_LARGEST_HEADER: Final = 1_000_000
_DTYPES: Final = frozenset({"BOOL", "U8", "I32", "I64", "F16", "BF16", "F32", "F64"})
_ALWAYS: Final = {"format": int, "bytes": int, "sha256": str, "counters": dict}
_SINCE_2: Final = {"made_from": dict, "machine": dict}


def read_manifest(path: Path, newest_format: int) -> dict[str, Any]:
    """Return a checkpoint's manifest, its entries present and of the right kind.

    Raises OSError, ValueError, RecursionError: it cannot be read, is no manifest of ours, or is nested too deeply.
    """
    content = read_regular(path, LARGEST_MANIFEST)
    manifest = strict_json(content)
    if not isinstance(manifest, dict) or not _ALWAYS.keys() <= manifest.keys():
        raise ValueError("its manifest lacks entries")
    number = manifest["format"]
    if not isinstance(number, int) or not 1 <= number <= newest_format:
        raise ValueError(f"its format is {number!r}; this version reads formats 1 to {newest_format}")
    kinds = _ALWAYS if number == 1 else _ALWAYS | _SINCE_2
    if any(not isinstance(manifest.get(name), kind) or manifest[name] is True for name, kind in kinds.items()):
        raise ValueError("its manifest has entries of the wrong kind")
    if manifest_bytes(manifest) != content:
        raise ValueError("its manifest is not written as it was")
    return manifest


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return a manifest in the one form that is written and read."""
    return json.dumps(manifest, indent=1, sort_keys=True).encode()


def read_tensors_safely(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; a name that occurs twice is refused, where the library takes the last.

    Raises:
        ValueError, RecursionError: the header is not one of ours.
        safetensors.SafetensorError: header and data do not fit each other.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_LARGEST_HEADER, len(content) - 8):
        raise ValueError("its header is longer than it can be")
    header = strict_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    for name, entry in header.items():
        if not isinstance(entry, dict) or str(entry.get("dtype")) not in _DTYPES:
            raise ValueError(f"its tensor {name[:80]!r} has no type that is ever written")
    return safetensors.torch.load(content)


def strict_json(content: bytes) -> Any:
    """Return the value of JSON text; a name that occurs twice, NaN and infinity are refused.

    Raises ValueError, RecursionError: it is not such text, or is nested too deeply.
    """
    return json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in it")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}")
