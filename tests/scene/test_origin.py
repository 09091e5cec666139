"""Tracking: the centre of the density, its running mean, and the cameras that follow it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dreamfields.scene.cameras import camera_target, density_centre, follow, sample_cameras
from dreamfields.scene.fields.voxels import VoxelField
from dreamfields.scene.settings import CameraSettings, VoxelSettings
from tests.support.toys import TINY, advance, fingerprint, new_state

FLAT = VoxelSettings(coarsest_cells=8, levels=1, density_gain=1.0, blob_strength=0.0, blob_offset=-15.0)


def field_with_blobs(*places: tuple[int, int, int]) -> VoxelField:
    """A field that is dense at some of the 9 x 9 x 9 nodes of its lattice, given as x, y, z from 0 to 8."""
    field = VoxelField(FLAT)
    with torch.no_grad():
        for x, y, z in places:
            field.grids[0][z, y, x, 0] = 40.0
    return field


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([(4, 4, 4)], [0.0, 0.0, 0.0]),
        ([(6, 4, 4)], [0.5, 0.0, 0.0]),
        ([(4, 6, 1)], [0.0, 0.5, -0.75]),
        ([(2, 4, 4), (6, 4, 4)], [0.0, 0.0, 0.0]),
    ],
)
def test_the_centre_is_where_the_density_is(places: list[tuple[int, int, int]], expected: list[float]) -> None:
    centre = density_centre(field_with_blobs(*places), cells=16)
    assert centre.tolist() == pytest.approx(expected, abs=1e-3)


def test_the_running_mean_by_hand_and_a_centre_that_is_nowhere() -> None:
    origin = torch.zeros(3, dtype=torch.float64)
    centre = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    once = follow(origin, centre, 0.9)
    assert once.tolist() == pytest.approx([0.1, -0.2, 0.05])
    assert follow(once, centre, 0.9).tolist() == pytest.approx([0.19, -0.38, 0.095])
    assert torch.equal(follow(once, torch.full((3,), float("nan"), dtype=torch.float64), 0.9), once)
    many = origin
    for _ in range(1000):
        many = follow(many, centre, 0.999)
    assert float(many[0]) == pytest.approx(1.0 - 0.999**1000)


@pytest.mark.parametrize(
    ("track", "progress", "followed"),
    [("off", 0.9, False), ("delayed", 0.29, False), ("delayed", 0.3, True), ("on", 0.0, True)],
)
def test_cameras_follow_never_later_or_always(track: str, progress: float, followed: bool) -> None:
    settings = CameraSettings.from_json({"track": track, "track_from": 0.3})
    origin = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64)
    assert camera_target(origin, settings, progress) == ((0.1, 0.2, -0.3) if followed else (0.0, 0.0, 0.0))


def test_another_target_moves_every_camera_by_as_much() -> None:
    def positions(place: tuple[float, float, float]) -> Tensor:
        cameras = sample_cameras(CameraSettings(), 3, torch.Generator().manual_seed(0), place)
        return torch.stack([camera.position() for camera in cameras])

    moved = positions((0.1, -0.2, 0.3)) - positions((0.0, 0.0, 0.0))
    assert torch.allclose(moved, torch.tensor([0.1, -0.2, 0.3]).expand(3, 3), atol=1e-6)


def test_a_tracked_run_goes_on_bit_for_bit_and_an_untracked_one_keeps_no_origin() -> None:
    recipe = replace(TINY, cameras=replace(TINY.cameras, track="on", track_memory=0.5))
    whole, half = new_state(recipe), new_state(recipe)
    advance(whole, 12)
    advance(half, 6)
    assert half.tensors()["origin"].abs().max() > 0.0
    resumed = new_state(recipe)
    resumed.restore(half.tensors(), half.counters())
    advance(resumed, 6)
    assert fingerprint(resumed) == fingerprint(whole)
    assert whole.target == tuple(whole.origin.tolist())
    whole.restart()
    assert whole.target == (0.0, 0.0, 0.0)
    assert "origin" not in new_state().tensors()
