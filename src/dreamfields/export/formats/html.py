"""A page in one file: `object.html` opens from disk, draws the object for turning, and asks no host for anything.

The viewer is model-viewer, which lies in `data/` with its licence. The page holds it, the mesh and a content security
policy that lets these run and nothing else: no connection leaves the page, and no script runs in it but the two whose
digests the policy names, whatever the prompt says.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Final

from dreamfields.export.settings import Metadata

SUFFIX: Final = ".html"


def viewer_html(glb: bytes, metadata: Metadata, settings: Mapping[str, Any]) -> bytes:
    """Return a page that shows a mesh.

    Args:
        glb: the mesh as GLB, without compression that needs a decoder.
        metadata: facts to be shown beside it; `prompt` is the heading.
        settings: all that the object was made from, as JSON values; shown when asked for.
    """
    starter, library = _text("object.js"), library_text()
    rows = [
        f"<dt>{_escaped(name)}</dt><dd>{_escaped(value)}</dd>" for name, value in metadata.items() if name != "prompt"
    ]
    page = Template(_text("object.html")).substitute(
        policy=_policy(starter, library),
        generator=_escaped(metadata.get("generator", "dreamfields")),
        prompt=_escaped(metadata.get("prompt", "")),
        style=_text("viewer.css"),
        glb=base64.b64encode(glb).decode(),
        facts="".join(rows),
        settings=_escaped(json.dumps(settings, indent=2, ensure_ascii=False)),
        starter=starter,
        library=library,
    )
    return page.encode()


@cache
def library_text() -> str:
    """Return model-viewer's script; the map for debuggers that its last line points to is left out."""
    return _text("model-viewer.min.js").rpartition("//# sourceMappingURL")[0]


@cache
def style_text() -> str:
    """Return the style that pages with a viewer share."""
    return _text("viewer.css")


def _policy(*scripts: str) -> str:
    """Return the content security policy under which only these inline scripts run and nothing is fetched.

    model-viewer compiles a decoder of meshes to WebAssembly when it loads, and keeps its style in a shadow tree. Data
    and blob are no connections: they are the mesh, its textures and the files made for augmented reality.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed} 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def _escaped(value: str | int | float) -> str:
    return html.escape(str(value), quote=True)


def _text(name: str) -> str:
    return resources.files("dreamfields.export").joinpath(f"data/{name}").read_text(encoding="utf-8")
