"""The installed weights, loaded once for all tests of guidance."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from dreamfields.guidance.ensemble import load_guides
from dreamfields.guidance.lit.closed_form import Bridge, LitGuidance
from dreamfields.guidance.settings import GuidanceSettings

SIZE = 64
"""Pixels a side of the tests' images; far fewer than a run's, and enough for laws."""


@dataclass(frozen=True)
class Lit:
    """The guides of `lit` in closed form as a run loads them."""

    guides: tuple[LitGuidance, ...]
    weights: tuple[float, ...]

    def with_bridge(self, bridge: Bridge, index: int = 0) -> LitGuidance:
        """Return a guide with another bridge over the same tower."""
        guide = self.guides[index]
        return LitGuidance(guide.tower, guide.sentences, guide.class_sentences, bridge, guide.image_size)


@pytest.fixture(scope="session")
def lit() -> Lit:
    settings = GuidanceSettings(
        name="lit", mode="closed-form", image_size=SIZE, size_jitter=0.25, template="a photo of {}"
    )
    members = load_guides(settings, torch.device("cpu"))
    guides = tuple(member.guidance for member in members if isinstance(member.guidance, LitGuidance))
    assert len(guides) == len(members)
    return Lit(guides, tuple(member.weight for member in members))


@pytest.fixture(scope="session")
def bridged(lit: Lit) -> Callable[[Bridge], LitGuidance]:
    made: dict[Bridge, LitGuidance] = {}

    def bridge(name: Bridge) -> LitGuidance:
        if name not in made:
            made[name] = lit.with_bridge(name)
        return made[name]

    return bridge
