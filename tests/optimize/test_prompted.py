"""Additional prompts: each reaches the step, and a resumed run equals an uninterrupted one."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from dreamfields.config import Config
from dreamfields.guidance.base import Guide
from dreamfields.guidance.prompt_embeddings import PromptEmbeddings
from dreamfields.guidance.settings import PromptSettings
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.optimize.loop import Step, optimize
from dreamfields.optimize.objective import Objective, draw_paraphrase, evaluate_objective, make_targets
from dreamfields.optimize.randomness import StepContext
from dreamfields.optimize.settings import LossSettings, Recipe
from dreamfields.optimize.state import TrainingState
from dreamfields.optimize.textureless import TexturelessView
from dreamfields.render.renderer import Rendering
from tests.optimize.test_objective import STILL, RecordingGuidance, rendering
from tests.support.toys import PROMPT, TINY, TINY_MLP, advance, fingerprint, new_state, tiny_config

STEPS = TINY.optimize.steps
ALL = PromptSettings(
    negative_prompt="a green ball",
    paraphrases=("a red sphere", "an orange ball"),
    azimuth_prompts=("front:{}, red and white", "side:{}, blue", "back:{}, black"),
    geometry_prompt="a white ball",
    style="yellow",
    sides="always",
    side_weight=0.5,
)
BLANK = PromptSettings(negative_prompt="a green ball", negative_weight=0.0)


def steps(state: TrainingState, prompts: PromptSettings, count: int = STEPS) -> list[Step]:
    """Take some steps of the loop."""
    targets = make_targets([Guide(ToyGuidance())], state.recipe.guidance.template, PROMPT, prompts)
    return list(islice(optimize(state, targets), count))


def end(prompts: PromptSettings, recipe: Recipe = TINY) -> dict[str, str]:
    """Return where a run that is never stopped leads."""
    state = new_state(recipe)
    steps(state, prompts)
    return fingerprint(state)


@pytest.mark.parametrize("recipe", [TINY, TINY_MLP], ids=["voxels", "mlp"])
def test_a_run_stopped_at_every_step_ends_bit_for_bit_where_the_other_does(recipe: Recipe) -> None:
    state = new_state(recipe)
    for _ in range(STEPS):
        saved = state.tensors(), state.counters()
        state = new_state(recipe)
        state.restore(*saved)
        steps(state, ALL, 1)
    assert fingerprint(state) == end(ALL, recipe)


@pytest.mark.parametrize("prompts", [PromptSettings(), BLANK], ids=["nothing", "a weightless negative"])
def test_without_additional_prompts_a_run_keeps_its_bits(prompts: PromptSettings) -> None:
    state = new_state()
    advance(state, STEPS)
    assert fingerprint(state) == end(prompts)


@pytest.mark.parametrize(
    "name", ["negative_prompt", "paraphrases", "azimuth_prompts", "geometry_prompt", "style", "sides"]
)
def test_each_setting_by_itself_leads_elsewhere(name: str) -> None:
    assert end(PromptSettings(**{name: getattr(ALL, name)})) != end(PromptSettings())


def test_every_paraphrase_is_drawn_about_equally_often_and_by_seed_and_step_alone() -> None:
    drawn = [draw_paraphrase(4, StepContext(TINY, 7, step)) for step in range(400)]
    assert drawn == [draw_paraphrase(4, StepContext(TINY, 7, step)) for step in range(400)]
    assert drawn != [draw_paraphrase(4, StepContext(TINY, 8, step)) for step in range(400)]
    counts = Counter(drawn)
    assert set(counts) == set(range(4))
    assert min(counts.values()) > 70
    assert draw_paraphrase(1, StepContext(TINY, 7, 3)) == 0


class Wanting(RecordingGuidance):
    """Records the embeddings that it scores against, a number for each word that it knows, and for how many images."""

    WORDS = ("ball", "front", "back", "shape", "sphere")

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[tuple[int, list[float]]] = []

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        return torch.stack([torch.tensor([float(word in one) for word in self.WORDS]) for one in sentences])

    def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
        self.wanted.append((len(images), text_embedding.tolist()))
        return images[:, 0].mean(dim=(1, 2))


def evaluated(
    prompts: PromptSettings,
    step: int = 0,
    textureless: TexturelessView | None = None,
    recipe: Recipe = TINY,
    opacity: float = 1.0,
) -> tuple[Objective, list[tuple[int, list[float]]]]:
    """Return a step's objective of a red view from the front and a black one from behind, and the embeddings scored."""
    guidance = Wanting()
    targets = make_targets([Guide(guidance, 0.5)], "{}", "ball", prompts)
    still = replace(recipe, augment=STILL)
    objective = evaluate_objective(rendering(opacity), targets, StepContext(still, 0, step), [0.0, 180.0], textureless)
    return objective, guidance.wanted


def test_each_view_is_scored_against_the_wording_of_its_side() -> None:
    objective, wanted = evaluated(PromptSettings(azimuth_prompts=("front:{} front", "back:{} back")))
    half = 0.5**0.5
    assert [count for count, _ in wanted] == [TINY.optimize.backgrounds] * 2
    assert wanted[0][1] == pytest.approx([half, half, 0.0, 0.0, 0.0])
    assert wanted[1][1] == pytest.approx([half, 0.0, half, 0.0, 0.0])
    assert objective.terms["guidance"].item() == pytest.approx(-0.5, abs=1e-5)


def test_each_view_is_scored_on_its_own_images() -> None:
    class Facing(Wanting):
        def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
            # Only the view from the front is red.
            return images[:, 0].mean(dim=(1, 2)) * text_embedding[1]

    prompts = PromptSettings(azimuth_prompts=("front:{} front", "back:{} back"))
    targets = make_targets([Guide(Facing())], "{}", "ball", prompts)
    recipe = replace(TINY, augment=STILL)
    terms = [
        evaluate_objective(rendering(1.0), targets, StepContext(recipe, 0, 0), azimuths).terms["guidance"].item()
        for azimuths in ([0.0, 180.0], [180.0, 0.0])
    ]
    assert terms == pytest.approx([-0.5 * 0.5**0.5, 0.0], abs=1e-5)


def test_all_views_of_a_step_are_scored_against_the_same_paraphrase() -> None:
    prompts = PromptSettings(paraphrases=("sphere",))
    found = [evaluated(prompts, step)[1] for step in range(12)]
    assert all(len(wanted) == 1 for wanted in found)
    assert {tuple(wanted[0][1]) for wanted in found} == {(1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 1.0)}


def textureless(azimuth_deg: float = 180.0) -> TexturelessView:
    """A view that is a quarter white."""
    ones = torch.ones(1, 1, 12, 12)
    return TexturelessView(Rendering(torch.full((1, 3, 12, 12), 0.25), ones, ones), azimuth_deg)


def test_the_geometry_prompt_is_scored_on_the_textureless_view_and_counts_by_its_weight() -> None:
    prompts = PromptSettings(geometry_prompt="shape", geometry_weight=3.0, style="front", paraphrases=("sphere",))
    plain, _ = evaluated(replace(prompts, geometry_prompt=""))
    objective, wanted = evaluated(prompts, textureless=textureless())
    assert wanted[-1] == (TINY.optimize.backgrounds, [0.0, 0.0, 0.0, 1.0, 0.0])
    assert objective.score == plain.score
    added = objective.terms["guidance"] - plain.terms["guidance"]
    assert added.item() == pytest.approx(-3.0 * 0.25, abs=1e-5)
    assert {name: term.item() for name, term in objective.terms.items() if name != "guidance"} == {
        name: term.item() for name, term in plain.terms.items() if name != "guidance"
    }


def test_the_geometry_prompt_has_the_wording_of_its_view_s_side() -> None:
    prompts = PromptSettings(geometry_prompt="shape", azimuth_prompts=("front:{} front", "back:{} back"))
    _, wanted = evaluated(prompts, textureless=textureless(180.0))
    half = 0.5**0.5
    assert wanted[-1][1] == pytest.approx([0.0, 0.0, half, half, 0.0])


def test_the_factor_of_a_gated_loss_is_also_that_of_the_geometry() -> None:
    gated = replace(TINY, losses=replace(TINY.losses, transmittance_form="gated"))
    # Half of what is in front of every pixel comes through, so the factor is a half.
    plain, _ = evaluated(PromptSettings(), recipe=gated, opacity=0.5)
    objective, _ = evaluated(
        PromptSettings(geometry_prompt="shape", geometry_weight=1.0),
        textureless=textureless(),
        recipe=gated,
        opacity=0.5,
    )
    added = objective.terms["guidance"] - plain.terms["guidance"]
    assert added.item() == pytest.approx(-0.5 * 0.25, abs=1e-6)


def test_a_geometry_prompt_alone_changes_density_and_no_colour() -> None:
    recipe = replace(TINY, losses=LossSettings(guidance=1.0, transmittance=0.0, fog=0.0))
    state = new_state(recipe)
    prompts = PromptSettings(geometry_prompt="a white ball", geometry_weight=1.0)
    (target,) = make_targets([Guide(ToyGuidance())], "{}", PROMPT, prompts)
    # A cosine with nothing is 0 and has no gradient, so the prompt has no effect.
    silent = replace(target, embeddings=PromptEmbeddings(torch.zeros_like(target.embeddings.table)))
    before = [grid.detach().clone() for grid in state.field.parameters()]
    list(islice(optimize(state, [silent]), 3))
    for old, new in zip(before, state.field.parameters(), strict=True):
        assert not torch.equal(old[..., 0], new[..., 0])
        assert torch.equal(old[..., 1:], new[..., 1:])


def test_prompts_are_part_of_the_identity_of_a_run_and_old_runs_have_none() -> None:
    plain, asking = tiny_config(), replace(tiny_config(), prompts=ALL)
    others = {name for name, value in plain.identity().items() if asking.identity()[name] != value}
    assert others == {f"prompts.{name}" for name in ("negative_prompt", "paraphrases", "azimuth_prompts")} | {
        "prompts.geometry_prompt",
        "prompts.style",
        "prompts.sides",
        "prompts.side_weight",
    }
    assert Config.from_json(json.loads(json.dumps(asking.to_json()))) == asking
    old = {name: value for name, value in plain.to_json().items() if name != "prompts"}
    assert Config.from_json(old) == plain
