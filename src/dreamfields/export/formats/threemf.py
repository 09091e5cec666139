"""3MF: the shape for 3D printing with its unit and facts, by the core specification; trimesh would leave facts out."""

import io
import unicodedata
import zipfile
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from dreamfields.export.asset import Asset
from dreamfields.export.mesh.mesh import to_print_frame

XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
CORE: Final = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
FACTS: Final = "urn:dreamfields"  # Namespace of facts that the specification does not define

CONTENT_TYPES: Final = (
    f'{XML}<Types xmlns="{PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
)
RELATIONS: Final = (
    f'{XML}<Relationships xmlns="{PACKAGE}/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="rel0" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)


def write(asset: Asset, name: str, size_mm: float) -> dict[str, bytes]:
    """Return the closed mesh as one 3MF file; the prompt is its title, and every fact is metadata."""
    mesh = asset.untextured
    named = {"Title": asset.facts.get("prompt", "object"), "Application": "dreamfields"}
    if "credit" in asset.facts:
        named["Copyright"] = asset.facts["credit"]
    named |= {f"d:{key}": value for key, value in asset.facts.items()}
    facts = (f"<metadata name={quoteattr(plain(key))}>{escape(plain(str(v)))}</metadata>" for key, v in named.items())
    points = to_print_frame(mesh, size_mm)
    vertices = (f'<vertex x="{x:.7g}" y="{y:.7g}" z="{z:.7g}"/>' for x, y, z in points.tolist())
    triangles = (f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces.tolist())
    model = (
        f'{XML}<model unit="millimeter" xml:lang="en-US" xmlns="{CORE}" xmlns:d="{FACTS}">{"".join(facts)}'
        f'<resources><object id="1" type="model"><mesh><vertices>{"".join(vertices)}</vertices>'
        f"<triangles>{''.join(triangles)}</triangles></mesh></object></resources>"
        '<build><item objectid="1"/></build></model>'
    )
    files = {"[Content_Types].xml": CONTENT_TYPES, "_rels/.rels": RELATIONS, "3D/3dmodel.model": model}
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        for part, text in files.items():
            # A ZipInfo has a fixed date by default: the same mesh is the same bytes.
            archive.writestr(zipfile.ZipInfo(part), text, zipfile.ZIP_DEFLATED)
    return {f"{name}.3mf": package.getvalue()}


def plain(text: str) -> str:
    """Replace what XML 1.0 cannot hold: control characters and lone surrogates."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff" else c for c in text)
