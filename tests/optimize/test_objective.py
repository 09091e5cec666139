"""The objective: the images of each guide, and the terms of the loss."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dreamfields.guidance.base import AbstractGuidance, Guide, Sides
from dreamfields.guidance.settings import PromptSettings
from dreamfields.guidance.toy import ToyGuidance
from dreamfields.optimize import losses
from dreamfields.optimize.objective import Objective, ask_for_sides, evaluate_objective, guide_images, make_targets
from dreamfields.optimize.randomness import StepContext, seeded_generator
from dreamfields.optimize.settings import LossSettings, Recipe
from dreamfields.render.compose import in_grey
from dreamfields.render.renderer import Rendering
from dreamfields.render.settings import AugmentSettings, BackgroundSettings
from tests.support.toys import TINY

STILL = AugmentSettings(
    scale=(1.0, 1.0), rotation_deg=0.0, shift=0.0, contrast=0.0, brightness=0.0, saturation=(1.0, 1.0), noise=0.0
)


class RecordingGuidance(AbstractGuidance):
    """Scores the mean of an image's red, and records the images that it scored."""

    name = "recording"

    def __init__(self, gain: float = 1.0, image_size: int = 12) -> None:
        super().__init__()
        self.image_size = image_size
        self.gain = gain
        self.sentences: list[str] = []
        self.images: list[Tensor] = []

    def encode_text(self, sentences: Sequence[str]) -> Tensor:
        self.sentences += sentences
        return torch.ones(len(sentences), 1)

    def encode_image(self, images: Tensor) -> Tensor:
        self.images.append(images.detach())
        return self.gain * images[:, 0].mean(dim=(1, 2))[:, None]


def rendering(opacity: float, views: int = 2, size: int = 12) -> Rendering:
    """Views of one opacity everywhere, the first red and the second black."""
    alpha = torch.full((views, 1, size, size), opacity)
    colour = torch.zeros(views, 3, size, size)
    colour[0, 0] = opacity
    return Rendering(colour, alpha, 4.0 * alpha)


def still_images(views: Rendering, recipe: Recipe) -> Tensor:
    """Return the images that a guide scores for views, without augmentation."""
    return guide_images(views, RecordingGuidance(), replace(recipe, augment=STILL), seeded_generator(0, "test"))


def test_every_view_is_put_on_backgrounds_of_its_own() -> None:
    images = still_images(rendering(0.0), replace(TINY, optimize=replace(TINY.optimize, backgrounds=3)))
    assert images.shape == (6, 3, 12, 12)
    for index, image in enumerate(images):
        assert not any(torch.allclose(image, other, atol=1e-3) for other in images[:index])


def test_views_keep_their_order_over_all_their_backgrounds() -> None:
    images = still_images(rendering(1.0), replace(TINY, optimize=replace(TINY.optimize, backgrounds=3)))
    assert images[:, 0].mean(dim=(1, 2)).tolist() == pytest.approx([1.0, 0.0] * 3)


def test_opacity_decides_between_object_and_background() -> None:
    # A board of one square is one colour; mixed with a black object, a quarter of it is left.
    recipe = replace(TINY, backgrounds=BackgroundSettings(0.0, 1.0, 0.0, 0.0, checkerboard_squares=1, blur=(0.0, 0.0)))
    clear, dim = (still_images(rendering(opacity), recipe)[1] for opacity in (0.0, 0.75))
    assert torch.allclose(dim, 0.25 * clear, atol=1e-6)


def test_the_prompt_is_put_into_the_template_once_for_every_guide() -> None:
    guides = [RecordingGuidance(), RecordingGuidance()]
    targets = make_targets([Guide(guides[0], 0.25), Guide(guides[1], 0.75)], "a photo of {}", "a teapot")
    assert [list(guide.sentences) for guide in guides] == [["a photo of a teapot"]] * 2
    assert [(target.guidance, target.weight) for target in targets] == [(guides[0], 0.25), (guides[1], 0.75)]
    assert all(target.embeddings.table.tolist() == [[[1.0]]] for target in targets)


def evaluate(guides: Sequence[Guide], seed: int = 0, step: int = 0) -> Objective:
    recipe = replace(TINY, augment=STILL)
    return evaluate_objective(rendering(1.0), make_targets(guides, "{}", "x"), StepContext(recipe, seed, step))


def test_the_guidance_term_is_minus_the_weighted_mean_of_the_guides_scores() -> None:
    guides = [Guide(RecordingGuidance(1.0), 1.0), Guide(RecordingGuidance(0.2), 3.0)]
    # Of two opaque views one is red: the guides' mean scores are 0.5 and 0.1.
    assert evaluate(guides).terms["guidance"].item() == pytest.approx(-(1.0 * 0.5 + 3.0 * 0.1) / 4.0, abs=1e-5)


def test_alternating_guides_score_one_a_step_in_turn() -> None:
    guides = [RecordingGuidance(1.0), RecordingGuidance(0.2)]
    recipe = replace(TINY, augment=STILL, guidance=replace(TINY.guidance, alternate=True))
    targets = make_targets([Guide(guides[0], 1.0), Guide(guides[1], 3.0)], "{}", "x")
    terms = [
        evaluate_objective(rendering(1.0), targets, StepContext(recipe, 0, step)).terms["guidance"].item()
        for step in range(4)
    ]
    # Their mean scores are 0.5 and 0.1, counted by their weights, whose mean is 2.
    assert terms == pytest.approx([-0.5 / 2, -0.1 * 3 / 2] * 2, abs=1e-5)
    assert [len(guide.images) for guide in guides] == [2, 2]


def test_over_a_round_of_turns_the_term_is_that_of_all_guides_together() -> None:
    guides = [Guide(RecordingGuidance(gain), weight) for gain, weight in ((1.0, 1.0), (0.2, 3.0), (-0.4, 0.5))]
    targets = make_targets(guides, "{}", "x")
    in_turn, together = (
        replace(TINY, augment=STILL, guidance=replace(TINY.guidance, alternate=alternate))
        for alternate in (True, False)
    )
    terms = [
        evaluate_objective(rendering(1.0), targets, StepContext(in_turn, 0, step)).terms["guidance"].item()
        for step in range(3)
    ]
    all_at_once = -evaluate_objective(rendering(1.0), targets, StepContext(together, 0, 0)).score
    assert sum(terms) / 3 == pytest.approx(all_at_once, abs=1e-5)


@pytest.mark.parametrize("alternate", [False, True])
def test_a_guide_scores_from_its_start_on_and_the_others_make_up_the_term_until_then(alternate: bool) -> None:
    guides = [RecordingGuidance(1.0), RecordingGuidance(0.2), RecordingGuidance(0.6)]
    recipe = replace(TINY, augment=STILL, guidance=replace(TINY.guidance, alternate=alternate))
    recipe = replace(recipe, optimize=replace(recipe.optimize, steps=12))
    targets = make_targets([Guide(guides[0]), Guide(guides[1], 1.0, 0.5), Guide(guides[2], 1.0, 0.99)], "{}", "x")
    terms, scored = [], []
    for step in range(12):
        before = [len(guide.images) for guide in guides]
        terms.append(evaluate_objective(rendering(1.0), targets, StepContext(recipe, 0, step)).terms["guidance"].item())
        scored.append([len(guide.images) - count for guide, count in zip(guides, before, strict=True)])
    assert scored == [[1, 0, 0]] * 6 + ([[1, 0, 0], [0, 1, 0]] * 3 if alternate else [[1, 1, 0]] * 6)
    assert terms[:6] == pytest.approx([-0.5] * 6, abs=1e-5)
    assert sum(terms[6:]) / 6 == pytest.approx(-0.3, abs=1e-5)


def test_every_guide_scores_images_of_its_own_at_its_own_size() -> None:
    small, large = RecordingGuidance(image_size=12), RecordingGuidance(image_size=20)
    recipe = replace(TINY, augment=STILL)
    targets = make_targets([Guide(small), Guide(large), Guide(small)], "{}", "x")
    evaluate_objective(rendering(0.0), targets, StepContext(recipe, 0, 0))
    assert [tuple(images.shape) for images in (*small.images, *large.images)] == [(4, 3, 12, 12)] * 2 + [(4, 3, 20, 20)]
    assert not torch.allclose(small.images[0], small.images[1], atol=1e-2)


def test_a_guide_of_several_sizes_gets_each_and_one_at_a_time() -> None:
    class ManySizes(RecordingGuidance):
        @property
        def image_sizes(self) -> tuple[int, ...]:
            return (8, 12, 20)

    guide = ManySizes()
    targets = make_targets([Guide(guide)], "{}", "x")
    for step in range(30):
        evaluate_objective(rendering(0.5), targets, StepContext(TINY, 0, step))
    sizes = [images.shape[-1] for images in guide.images]
    assert len(sizes) == 30
    assert all(sizes.count(size) >= 4 for size in (8, 12, 20))


def test_seed_and_step_decide_every_draw() -> None:
    def images_of(seed: int, step: int) -> Tensor:
        guidance = RecordingGuidance()
        targets = make_targets([Guide(guidance)], "{}", "x")
        evaluate_objective(rendering(0.5), targets, StepContext(TINY, seed, step))
        return guidance.images[0]

    assert torch.equal(images_of(0, 0), images_of(0, 0))
    assert not torch.equal(images_of(0, 0), images_of(0, 1))
    assert not torch.equal(images_of(0, 0), images_of(1, 0))


@pytest.mark.parametrize(("fraction", "target", "fog"), [(0.0, 0.4, 0.0), (0.5, 0.8, 0.5), (0.75, 0.8, 1.0)])
def test_the_other_terms_are_of_the_opacity_and_follow_their_schedules(
    fraction: float, target: float, fog: float
) -> None:
    terms = replace(TINY.losses, transmittance_start=0.4, transmittance_end=0.8, transmittance_ramp=0.5)
    recipe = replace(
        TINY,
        losses=replace(terms, fog_ramp=(0.25, 0.75)),
        optimize=replace(TINY.optimize, steps=40),
    )
    opacity = 0.1 + 0.1 * torch.rand(2, 1, 12, 12)
    views = Rendering(torch.zeros(2, 3, 12, 12), opacity, opacity)
    targets = make_targets([Guide(RecordingGuidance())], "{}", "x")
    objective = evaluate_objective(views, targets, StepContext(recipe, 0, round(40 * fraction)))
    expected = {"transmittance": TINY.losses.transmittance * losses.transmittance_loss(opacity, target).item()}
    if fog > 0.0:
        expected["fog"] = TINY.losses.fog * fog * losses.fog(opacity).item()
    added = {name: term.item() for name, term in objective.terms.items() if name != "guidance"}
    assert added == pytest.approx(expected)
    assert objective.fog == pytest.approx(losses.fog(opacity).item())


def test_scores_become_sharper_by_their_schedule() -> None:
    class Sharp(RecordingGuidance):
        def score(self, images: Tensor, text_embedding: Tensor, sharpness: float = 0.0) -> Tensor:
            return torch.full((len(images),), sharpness)

    recipe = replace(TINY, guidance=replace(TINY.guidance, sharpen=(0.25, 0.75)))
    recipe = replace(recipe, optimize=replace(TINY.optimize, steps=40))
    targets = make_targets([Guide(Sharp())], "{}", "x")
    scores = [
        evaluate_objective(rendering(0.5), targets, StepContext(recipe, 0, step)).score for step in (0, 10, 20, 35)
    ]
    assert scores == pytest.approx([0.0, 0.0, 0.5, 1.0])


def test_the_total_is_the_sum_of_the_terms() -> None:
    terms = {name: torch.tensor(value) for name, value in (("guidance", 2.0), ("transmittance", 30.0), ("fog", 500.0))}
    assert Objective(terms, score=0.5, fog=0.5).total().item() == 532.0


def test_the_guidance_s_term_has_its_weight_and_the_score_has_none() -> None:
    targets = make_targets([Guide(RecordingGuidance())], "{}", "x")
    plain, heavy = (
        evaluate_objective(rendering(1.0), targets, StepContext(replace(TINY, losses=LossSettings(weight)), 0, 0))
        for weight in (1.0, 2.0)
    )
    assert heavy.terms["guidance"].item() == pytest.approx(2.0 * plain.terms["guidance"].item())
    assert heavy.score == plain.score == pytest.approx(-plain.terms["guidance"].item())


def test_a_term_of_a_test_s_own_is_added_by_its_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    def nearness(inputs: losses.TermInputs) -> Tensor:
        return inputs.rendering.depth.mean()

    context, targets = StepContext(TINY, 0, 0), make_targets([Guide(RecordingGuidance())], "{}", "x")
    without = evaluate_objective(rendering(0.5), targets, context)
    more = {**losses.TERMS, "nearness": losses.Term(lambda _: 0.25, nearness)}
    monkeypatch.setattr("dreamfields.optimize.losses.TERMS", more)
    objective = evaluate_objective(rendering(0.5), targets, context)
    assert list(objective.terms) == [*without.terms, "nearness"]
    assert objective.terms["nearness"].item() == pytest.approx(0.25 * 2.0)  # All pixels are at depth 4, half opaque.
    assert objective.total().item() == pytest.approx(without.total().item() + 0.5)


def test_half_of_the_images_are_grey_and_these_alone_are_asked_for_sides() -> None:
    images = torch.rand((12, 3, 4, 4), generator=seeded_generator(0, "images"))
    seen = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    first = set()
    for draw in range(20):
        shown, sides = ask_for_sides(images, Sides(torch.eye(3), seen, 2.0), seeded_generator(draw, "sides"))
        asked = sides.seen.sum(dim=1) > 0.5
        # Image j is of view j modulo 3; the three views on one background are grey together.
        grey = asked.view(4, 3)[:, 0]
        assert torch.equal(sides.seen, torch.where(asked[:, None], seen.repeat(4, 1), 0.0))
        assert torch.equal(asked.view(4, 3), grey[:, None].expand(4, 3))
        assert grey.tolist() in ([True, False] * 2, [False, True] * 2)
        assert torch.equal(shown[~asked], images[~asked])
        assert torch.equal(shown[asked], in_grey(images)[asked])
        first.add(bool(grey[0]))
    assert first == {True, False}


@pytest.mark.parametrize("batch_size", [0, 1, 2, 5])
@pytest.mark.parametrize("wordings", [(), ("front:{}, red", "back:{}, blue")])
def test_sides_count_the_same_however_images_are_divided(batch_size: int, wordings: tuple[str, ...]) -> None:
    prompts = PromptSettings(sides="always", azimuth_prompts=wordings)
    guidance = replace(TINY.guidance, batch_size=batch_size)
    targets = make_targets([Guide(ToyGuidance())], "{}", "a red ball", prompts)
    objectives = []
    for recipe in (TINY, replace(TINY, guidance=guidance)):
        views = rendering(0.5, 3)
        colour = views.colour.requires_grad_()
        objective = evaluate_objective(views, targets, StepContext(recipe, 0, 3), [0.0, 120.0, 180.0])
        objective.total().backward()
        assert colour.grad is not None
        objectives.append((objective.score, colour.grad))
    (score, gradient), (divided, of_divided) = objectives
    assert divided == pytest.approx(score, abs=1e-6)
    assert torch.allclose(of_divided, gradient, atol=1e-6)
    # The score that is shown is of the sentence alone, of images half of which are grey.
    weightless = make_targets([Guide(ToyGuidance())], "{}", "a red ball", replace(prompts, side_weight=0.0))
    silent = evaluate_objective(rendering(0.5, 3), weightless, StepContext(TINY, 0, 3), [0.0, 120.0, 180.0])
    assert silent.score == pytest.approx(score, abs=1e-6)
    assert silent.total().item() != pytest.approx(objective.total().item(), abs=1e-3)
