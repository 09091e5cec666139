"""Zip archives in memory, of which the same files give the same bytes."""

import io
import zipfile
from collections.abc import Mapping


def zip_bytes(files: Mapping[str, bytes], *, compressed: bool = True) -> bytes:
    """Return files by name as a zip archive, in their order, dated at the epoch of the format."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as writer:
        for name, content in files.items():
            writer.writestr(zipfile.ZipInfo(name), content, writer.compression)
    return archive.getvalue()
