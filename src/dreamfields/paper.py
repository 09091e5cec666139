"""The recipes of Dream Fields (Jain et al., CVPR 2022, arXiv 2112.01455), value by value.

Comments give the source of each value: "text" is the paper; "base", "lq", "mq" and "hq" are the configurations of its
released code (google-research/dreamfields, config_base.py and its three children), other files are of that code; "ours"
is in neither, or differs on purpose (reasons in docs/paper.md). Schedules in steps are fractions of all steps here, so
that `--steps` scales them; at the numbers of steps below they equal the code's.
"""

import math
from typing import Final

from dreamfields.export.settings import ExportSettings
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.optimize.settings import CollapseSettings, InitSettings, LossSettings, OptimizeSettings, Recipe
from dreamfields.render.settings import AugmentSettings, BackgroundSettings, RenderSettings
from dreamfields.scene.settings import CameraSettings, MlpSettings

GUIDE: Final = "openai/clip-vit-base-patch16"  # base: loss_model = clip_vit_b16
JUDGE: Final = "openai/clip-vit-base-patch32"  # base: retrieve_models = [clip_vit_b32]

FOCAL_LENGTH: Final = 1111.1111 / 800.0  # scene.py: _HWF_BLENDER, of NeRF's synthetic scenes, in image widths
TEST_FOV_DEG: Final = math.degrees(2.0 * math.atan(0.5 / FOCAL_LENGTH))  # 39.6: that focal length, in held-out views
TRAIN_FOV_DEG: Final = math.degrees(2.0 * math.atan(0.5 / (1.2 * FOCAL_LENGTH)))  # 33.4, base: focal_mult_range = 1.2
TEST_AZIMUTH_DEG: Final = 30.0  # lib.py, text: the held-out view's
TEST_ELEVATION_DEG: Final = 45.0  # lib.py, text
TEST_SAMPLES: Final = 512  # base: test_hq.num_samples
BLURRED_SIZE: Final = 224  # base: clip_width, the size at which backgrounds are blurred; `blur` is in fractions of it

GUIDANCE: Final = GuidanceSettings(
    name=f"clip:{GUIDE}",
    template="{}",  # base: query_template = "{query}"
    batch_size=16,  # ours: memory alone; the gradient is that of all 64
    alternate=False,  # ours: there is one guide
)
MLP: Final = MlpSettings(
    encoding="integrated",  # base: mipnerf.use_cov = True; text sec. 3.4
    frequencies=128,  # mipnerf.py: 128 random directions beside the three axes
    max_octave=8.0,  # base: posenc_deg = 8
    directions="sphere",  # text; the code's own normalisation is `released`
    anneal_steps=1000,  # base: mipnerf.decay_iters, decay_start = 1: from 2 to 1, unlike its comment
    width=128,  # base: features_early = [128], features_late = [128, 4]
    hidden=256,  # base: features_residual = [(256, 128)] * 4
    blocks=4,  # base: the same
    checkpoint_layers=True,  # ours: memory alone
)
CAMERAS: Final = CameraSettings(
    azimuth_deg=(0.0, 360.0),  # base: th_range
    elevation_deg=(30.0, 30.0),  # base: phi_range = [-30, -30], which looks down
    fov_deg=(TRAIN_FOV_DEG, TRAIN_FOV_DEG),  # base: focal_mult_range
    radius=4.0,  # base: rad_range = [4, 4]
    track="on",  # base: ema_scene_origin = True
    track_memory=0.999,  # lib.py: scene.EMA(decay=0.999)
)
BACKGROUNDS: Final = BackgroundSettings(
    noise=0.333,  # base: noise_bg_prob
    checkerboard=0.333,  # base: checker_bg_prob
    fourier=0.334,  # base: fft_bg_prob
    plain=0.0,
    checkerboard_squares=8,  # base: checker_bg_nsq
    fourier_decay=1.5,  # augment.py: decay_power
    blur=(0.0, 10.0 / BLURRED_SIZE),  # base: bg_blur_std_range = [0, 10] pixels
    blur_reach=7.0 / BLURRED_SIZE,  # augment.py: kernel_size = 15, so 7 pixels each way
    compositing="plain",  # text eq. 1; the code weighs colour by opacity twice, which is `double`
)


def recipe(size: int, crop: int, steps: int) -> Recipe:
    """Return the recipe of all three presets for sizes in pixels and a number of steps."""
    return Recipe(
        guidance=GUIDANCE,
        field="mlp",  # base: parameterization = "mipnerf"
        mlp=MLP,
        cameras=CAMERAS,
        render=RenderSettings(
            size=size,  # lq, mq, hq: render_width
            samples=192,  # base: num_samples
            jitter="sample",  # a random draw for each sample
            termination=0.0,  # rays never end early
            occupancy_threshold=0.0,  # no cell is skipped
            occupancy_every=100_000,  # so no update is needed
            textureless=0.0,  # DreamFusion's, not the paper's
            bounds=True,  # base: mr_norm = "inf", mr0 = mr1 = 1, intersect_box; text sec. 3.4
        ),
        backgrounds=BACKGROUNDS,
        augment=AugmentSettings(crop=crop),  # lq, mq, hq: crop_width; a crop disables the other augmentations
        losses=LossSettings(
            guidance=1.0,  # text eq. 2
            transmittance=0.5,  # base: acc_lam; text: lambda = 0.5
            transmittance_start=0.4,  # text: tau from 40 %; base: acc_target0 = 0.5, times 1.2 for the focal length
            transmittance_end=0.88,  # text: to 88 %; base: acc_target1 = 0.1, times 1.2
            transmittance_ramp=500.0 / steps,  # base: acc_target_i_split; exponential, as in schedule.py
            transmittance_form="additive",  # base: transparency_loss = "neg_lam_transmittance_clipped"; text eq. 4
            fog=0.0,
        ),
        optimize=OptimizeSettings(
            steps=steps,  # base: iters
            views=1,  # lib.py: one pose a step
            backgrounds=64,  # base: n_local_aug = 8, on each of the paper's 8 TPU cores
            learning_rate=1e-4,  # base: lr1
            final_learning_rate=1.0,  # base: lr2 = lr1
            warm_up=1500.0 / steps,  # base: lr_i_split; exponential, as in schedule.py
            warm_up_from=0.1,  # base: lr0 = 1e-5
            adam_betas=(0.9, 0.999),  # lib.py: the defaults of flax.optim.Adam
            adam_eps=1e-5,  # base: adam_eps
            checkpoint_every=1000,  # base: checkpoint_every
        ),
        init=InitSettings(source="none"),  # the paper begins at random
        collapse=CollapseSettings(restarts=0),  # the paper never restarts
    )


LQ: Final = recipe(size=88, crop=80, steps=10_000)  # lq: render_width, crop_width
MQ: Final = recipe(size=168, crop=154, steps=10_000)  # mq: the same; the paper's tables
HQ: Final = recipe(size=252, crop=224, steps=20_000)  # hq: the same and iters = 20000; the paper's figures

EXPORT: Final = ExportSettings(  # The released code's large video, and a mesh
    mesh_cells=128,  # ours: the paper has no mesh
    video_size=400,  # lib.py: hq_video_width
    video_frames=240,  # lib.py: hq_video_n_frames
    video_fps=30,  # log.py
    still_samples=TEST_SAMPLES,
)
