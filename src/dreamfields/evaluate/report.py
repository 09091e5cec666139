"""Judgements as JSON."""

import dataclasses
from typing import Any

from dreamfields.evaluate.classifier import Judgement


def judgement_json(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as JSON values, the totals first."""
    return {
        "top1": judgement.top1,
        "top5": judgement.top5,
        "of": len(judgement.views),
        "probability": round(judgement.probability, 4),
        **dataclasses.asdict(judgement),
    }
