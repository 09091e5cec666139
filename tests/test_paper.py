"""The paper's recipes: the values of its tables, and what the schedules make of them."""

import math

import pytest
import torch

from dreamfields import paper
from dreamfields.errors import UsageError
from dreamfields.guidance.ensemble import parse_members
from dreamfields.optimize.schedules import learning_rate, line, transmittance_target, warm_up
from dreamfields.optimize.settings import Recipe
from dreamfields.presets import PRESETS
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields import FIELDS
from dreamfields.scene.settings import FieldChoice

PAPERS = {"paper-lq": paper.LQ, "paper-mq": paper.MQ, "paper-hq": paper.HQ}


@pytest.mark.parametrize(
    ("name", "size", "crop", "steps"),
    [("paper-lq", 88, 80, 10_000), ("paper-mq", 168, 154, 10_000), ("paper-hq", 252, 224, 20_000)],
)
def test_the_three_differ_in_size_and_steps_alone(name: str, size: int, crop: int, steps: int) -> None:
    recipe = PRESETS[name].recipe
    assert recipe is PAPERS[name]
    assert (recipe.render.size, recipe.augment.crop, recipe.optimize.steps) == (size, crop, steps)
    assert paper.recipe(size, crop, steps) == recipe


def test_intrinsics_are_33_4_degrees_in_training_and_39_6_in_tests() -> None:
    assert pytest.approx(33.4, abs=0.05) == paper.TRAIN_FOV_DEG
    assert pytest.approx(39.6, abs=0.05) == paper.TEST_FOV_DEG
    # The focal length of NeRF's scenes is 1111.11 pixels of 800; so a ray half an image off the axis has this slope.
    for fov, focal in ((paper.TEST_FOV_DEG, 1111.1111), (paper.TRAIN_FOV_DEG, 1.2 * 1111.1111)):
        camera = Camera(0.0, 0.0, fov_deg=fov)
        right, _, forward = (camera.rays(800).directions[-1] @ axis for axis in camera.axes())
        assert float(right / forward) == pytest.approx(399.5 / focal, rel=1e-4)


@pytest.mark.parametrize("recipe", PAPERS.values(), ids=list(PAPERS))
def test_the_learning_rate_is_that_of_the_table(recipe: Recipe) -> None:
    settings = recipe.optimize

    def rate(step: int) -> float:
        progress = step / settings.steps
        cosine = learning_rate(progress, settings.learning_rate, settings.final_learning_rate)
        return cosine * warm_up(progress, settings.warm_up, settings.warm_up_from)

    expected = {0: 1e-5, 750: math.sqrt(1e-5 * 1e-4), 1500: 1e-4, 1501: 1e-4, settings.steps - 1: 1e-4}
    for step, value in expected.items():
        assert rate(step) == pytest.approx(value, rel=1e-6), step
    assert (settings.adam_eps, settings.adam_betas) == (1e-5, (0.9, 0.999))


@pytest.mark.parametrize("recipe", PAPERS.values(), ids=list(PAPERS))
def test_the_target_opacity_is_that_of_the_table(recipe: Recipe) -> None:
    terms = recipe.losses

    def opacity(step: int) -> float:
        progress = step / recipe.optimize.steps
        return 1.0 - transmittance_target(
            progress, terms.transmittance_start, terms.transmittance_end, terms.transmittance_ramp
        )

    # From 0.5 to 0.1 in 500 steps, by the same factor each step, times 1.44 / 1.2 for the focal length.
    for step, value in {0: 0.5, 250: math.sqrt(0.05), 500: 0.1, 501: 0.1, recipe.optimize.steps: 0.1}.items():
        assert opacity(step) == pytest.approx(1.2 * value, rel=1e-5), step
    assert (terms.transmittance, terms.guidance, terms.transmittance_form) == (0.5, 1.0, "additive")
    assert (terms.fog, terms.beta_prior, terms.density_noise) == (0.0, 0.0, (0.0, 0.0))


def test_each_step_scores_64_images_of_one_view_with_clip_b_16() -> None:
    for recipe in PAPERS.values():
        assert (recipe.optimize.views, recipe.optimize.backgrounds) == (1, 64)
        assert recipe.backgrounds.plain == recipe.backgrounds.black == 0.0
        assert recipe.backgrounds.blur == pytest.approx((0.0, 10.0 / 224.0))
        assert round(224 * recipe.backgrounds.blur_reach) == 7  # 15 pixels with the middle one
        (member,) = parse_members(recipe.guidance.name)
        assert member.model_id == "openai/clip-vit-base-patch16"
        assert (recipe.cameras.track, recipe.cameras.track_memory, recipe.cameras.radius) == ("on", 0.999, 4.0)
        assert recipe.cameras.elevation_deg == (30.0, 30.0)
        assert (recipe.render.samples, recipe.field, recipe.collapse.restarts) == (192, "mlp", 0)
    assert paper.JUDGE.endswith("patch32")


def test_the_field_has_the_released_size_and_the_other_the_size_of_nerf() -> None:
    def size(name: str, **changes: object) -> int:
        mlp = paper.MQ.mlp.from_json({**paper.MQ.mlp.to_json(), **changes})
        choice = FieldChoice.from_json({"field": name, "mlp": mlp.to_json()})
        field = FIELDS[choice.field].make(choice, torch.Generator().manual_seed(0))
        return sum(parameter.numel() for parameter in field.parameters())

    assert size("mlp") == 315_396
    # The paper says 494K; it counts x, y and z among the features of NeRF, 63 instead of 60.
    assert size("nerf", directions="axes", max_octave=10.0) == 494_084 - 2 * 3 * 256


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"augment": {"crop": 97}, "render": {"size": 96}}, "augment.crop is 97; it must be at most render.size"),
        ({"render": {"bounds": False}}, "render.bounds is off; the voxels field ends with the cube"),
        ({"losses": {"density_noise": [1.0, 0.0]}}, "losses.density_noise is above 0; the voxels field takes none"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Recipe.from_json(changes)
    Recipe.from_json({**changes, "field": "mlp", "augment": {"crop": 0}})


def test_a_line_goes_straight_and_a_warm_up_by_the_same_factor() -> None:
    assert [line(progress, 4.0, 0.0) for progress in (0.0, 0.25, 1.0)] == [4.0, 3.0, 0.0]
    assert [warm_up(progress, 0.5, 0.01) for progress in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.01, 0.1, 1.0, 1.0])
    assert warm_up(0.0, 0.0, 0.1) == 1.0
