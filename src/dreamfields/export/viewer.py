"""The files of the viewer in `data/`, which pages share: model-viewer and our own. Nothing here imports torch."""

from functools import cache
from importlib import resources


@cache
def library_text() -> str:
    """Return model-viewer's script without its last line, which names a source map that is not here."""
    return data_text("model-viewer.min.js").rpartition("//# sourceMappingURL")[0]


def data_text(name: str) -> str:
    """Return the text of a file in `data/`."""
    return resources.files("dreamfields.export").joinpath(f"data/{name}").read_text(encoding="utf-8")
