"""Results of judges as JSON, and of retrieval as one HTML page with its images inside."""

import base64
import dataclasses
import html
import io
import itertools
from typing import Any, Final

from PIL import Image
from torch import Tensor

from dreamfields.evaluate.classifier import Judgement
from dreamfields.evaluate.retrieval import Fraction, Judged, Retrieval

WITHIN: Final = (1, 5)  # R@1 and R@5 are reported
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:left}"
    "figure{display:inline-block;width:15em;margin:.5em;vertical-align:top}img{width:48%;border:1px solid #ddd}"
    ".right{color:#060}.wrong{color:#900}"
)


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON values, the totals first."""
    totals = {"top1": judgement.top1, "top5": judgement.top5, "of": len(judgement.views)}
    return {**totals, "probability": round(judgement.probability, 4), **dataclasses.asdict(judgement)}


def retrieval_json(retrieval: Retrieval) -> dict[str, Any]:
    """Return JSON values: fractions with standard errors, chance, and every object's ranks."""
    fractions = {}
    for appearance, within in itertools.product(("colour", "textureless"), WITHIN):
        one = retrieval.fraction(within, appearance == "textureless")
        rounded = {"value": round(one.value, 4), "standard_error": round(one.error, 4), "objects": one.objects}
        fractions[f"{appearance}_r_at_{within}"] = rounded
    objects = []
    for each in retrieval.objects:
        found = {"colour": dataclasses.asdict(each.colour), "textureless": dataclasses.asdict(each.textureless)}
        objects.append({"run": each.images.name, "caption": each.caption, **found})
    chance = {f"r_at_{within}": round(retrieval.chance(within), 4) for within in WITHIN}
    return {"judge": retrieval.judge, "captions": retrieval.captions, "chance": chance, **fractions, "objects": objects}


def retrieval_page(retrieval: Retrieval) -> str:
    """Return an HTML page that needs no other file."""
    rows = ""
    for appearance in ("colour", "textureless"):
        fractions = [words(retrieval.fraction(within, appearance == "textureless")) for within in WITHIN]
        rows += f"<tr><td>{appearance}</td>{''.join(f'<td>{one}</td>' for one in fractions)}</tr>"
    chances = "".join(f"<td>{retrieval.chance(within):.1%}</td>" for within in WITHIN)
    title = f"Retrieval by {html.escape(retrieval.judge)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{len(retrieval.objects)} objects, {retrieval.captions} captions to choose from; one view "
        "from azimuth 30, elevation 45, over white, with colours and textureless. Fractions with their standard "
        f"errors.</p><table><tr><th></th><th>R@1</th><th>R@5</th></tr>{rows}<tr><td>chance</td>{chances}</tr></table>"
        + "".join(_figure(one) for one in retrieval.objects)
        + "</html>\n"
    )


def words(fraction: Fraction) -> str:
    """Return a fraction in percent with its standard error, as text."""
    return f"{100 * fraction.value:.1f} ± {100 * fraction.error:.1f} %"


def _figure(one: Judged) -> str:
    lines = []
    for appearance, found in (("colour", one.colour), ("textureless", one.textureless)):
        mark = "right" if found.rank == 1 else "wrong"
        lines.append(f'<br><span class="{mark}">{appearance}: {found.rank}.</span> {html.escape(found.nearest)}')
    images = "".join(f'<img alt="" src="{_data_url(part)}">' for part in (one.images.colour, one.images.textureless))
    return f"<figure>{images}<figcaption><b>{html.escape(one.caption)}</b>{''.join(lines)}</figcaption></figure>"


def _data_url(image: Tensor) -> str:
    """Return an image (3, s, s) in [0, 1] as a PNG in a data URL."""
    levels = (255.0 * image.cpu()).round().byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
