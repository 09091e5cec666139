"""HTML: one file that opens from disk, shows the object in model-viewer (in `data/`, with licence), fetches nothing."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from string import Template
from typing import Any

from dreamfields.export.asset import Asset
from dreamfields.export.formats.glb import glb_bytes
from dreamfields.export.settings import Metadata
from dreamfields.export.viewer import data_text, library_text


def write(asset: Asset, name: str, size_mm: float) -> dict[str, bytes]:
    """Return the textured mesh as one page that shows it, its facts, and all settings of its run."""
    glb = glb_bytes(asset.mesh, asset.facts, size_mm)
    return {f"{name}.html": html_bytes(glb, asset.facts, asset.config)}


def html_bytes(glb: bytes, metadata: Metadata, config: Mapping[str, Any]) -> bytes:
    """Return a page that shows a GLB, its metadata, headed by `prompt`, and on demand the settings of its run."""
    starter, library = data_text("object.js"), library_text()
    shown = {html.escape(key): html.escape(str(value)) for key, value in metadata.items()}
    page = Template(data_text("object.html"))
    return page.substitute(
        policy=_policy(starter, library),
        generator=shown.get("generator", "dreamfields"),
        prompt=shown.get("prompt", ""),
        style=data_text("viewer.css"),
        glb=base64.b64encode(glb).decode(),
        facts="".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in shown.items() if key != "prompt"),
        settings=html.escape(json.dumps(dict(config), indent=2, ensure_ascii=False)),
        starter=starter,
        library=library,
    ).encode()


def _policy(*scripts: str) -> str:
    """Return the content security policy: whatever the prompt says, only these scripts run and nothing is fetched.

    model-viewer compiles a mesh decoder to WebAssembly when it loads, and keeps its style in a shadow tree. Data and
    blob URLs connect to no host: they are the mesh, its textures and the files made for augmented reality.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed} 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; connect-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )
