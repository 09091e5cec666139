"""What retrieval found, as JSON and as one HTML page with its pictures inside."""

import base64
import html
import io
from dataclasses import asdict
from typing import Any

from PIL import Image
from torch import Tensor

from dreamfields.evaluate.retrieval import Fraction, Judged, Retrieval

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "figure{display:inline-block;width:15em;margin:.5em;vertical-align:top}img{width:48%;border:1px solid #ddd}"
    ".right{color:#060}.wrong{color:#900}"
)
WITHIN = (1, 5)


def retrieval_json(retrieval: Retrieval) -> dict[str, Any]:
    """Return JSON values: shares with standard errors, chance, and every object's ranks."""
    fractions = {
        f"{kind}_r_at_{within}": _fraction(retrieval.fraction(within, kind == "geometry"))
        for kind in ("colour", "geometry")
        for within in WITHIN
    }
    objects = [
        {"run": one.name, "caption": one.caption, "colour": asdict(one.colour), "geometry": asdict(one.geometry)}
        for one in retrieval.objects
    ]
    chance = {f"r_at_{within}": round(retrieval.chance(within), 4) for within in WITHIN}
    return {"judge": retrieval.judge, "captions": retrieval.captions, "chance": chance, **fractions, "objects": objects}


def retrieval_page(retrieval: Retrieval) -> str:
    """Return one HTML page that needs nothing but itself."""
    rows = "".join(
        f"<tr><td>{name}</td>"
        + "".join(f"<td>{words(retrieval.fraction(within, name == 'geometry'))}</td>" for within in WITHIN)
        + "</tr>"
        for name in ("colour", "geometry")
    )
    chances = "".join(f"<td>{retrieval.chance(within):.1%}</td>" for within in WITHIN)
    title = f"Retrieval by {html.escape(retrieval.judge)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{len(retrieval.objects)} objects, {retrieval.captions} captions to choose from; one view "
        "from azimuth 30, elevation 45, over white, with colours and in white plaster. Shares with their standard "
        f"errors.</p><table><tr><th></th><th>R@1</th><th>R@5</th></tr>{rows}<tr><td>chance</td>{chances}</tr></table>"
        + "".join(_figure(one) for one in retrieval.objects)
        + "</html>\n"
    )


def words(fraction: Fraction) -> str:
    """Return a share in words, in percent, with its standard error."""
    return f"{100 * fraction.value:.1f} ± {100 * fraction.error:.1f} %"


def _fraction(fraction: Fraction) -> dict[str, float | int]:
    return {"value": round(fraction.value, 4), "standard_error": round(fraction.error, 4), "objects": fraction.objects}


def _figure(one: Judged) -> str:
    lines = []
    for kind, found in (("colour", one.colour), ("geometry", one.geometry)):
        mark = "right" if found.rank == 1 else "wrong"
        lines.append(f'<br><span class="{mark}">{kind}: {found.rank}.</span> {html.escape(found.nearest)}')
    pictures = "".join(f'<img alt="" src="{_source(part)}">' for part in (one.colour_picture, one.geometry_picture))
    return f"<figure>{pictures}<figcaption><b>{html.escape(one.caption)}</b>{''.join(lines)}</figcaption></figure>"


def _source(picture: Tensor) -> str:
    """Return a picture (3, s, s) in [0, 1] as a data address."""
    levels = (255.0 * picture).round().byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
