"""Pictures: what is written is what was rendered, in its place, with its label and its facts."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from dreamfields.errors import DegenerateError, UsageError
from dreamfields.export.pictures.stills import contact_sheet, is_blank, picture_bytes, png_bytes, to_image, view
from dreamfields.export.pictures.table import PICTURES, picture_format
from dreamfields.export.settings import ExportSettings, Metadata
from dreamfields.render.framing import frame
from dreamfields.render.occupancy import occupied_cells
from dreamfields.scene.cameras import Camera, turntable
from tests.support.fields import Ball, BallsField, VolumeField, sphere

SMALL = ExportSettings(sheet_size=48, still_samples=32)


def test_levels_round_and_clip() -> None:
    rgb = torch.tensor([[[-1.0, 0.0, 0.5, 1.0, 2.0]]] * 3)
    assert np.asarray(to_image(rgb))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_rows_and_columns_stay_in_place() -> None:
    rgb = torch.rand((3, 5, 7))
    image = to_image(rgb)
    assert image.size == (7, 5)
    assert np.abs(np.asarray(image) / 255.0 - rgb.permute(1, 2, 0).numpy()).max() <= 0.5 / 255.0 + 1e-6


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_picture_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(DegenerateError, match="not finite"):
        to_image(torch.full((3, 2, 2), value))


def test_a_png_keeps_every_pixel_and_fact() -> None:
    image = to_image(torch.rand((3, 5, 7)))
    facts: Metadata = {"prompt": "日本の急須, 🫖 «été»", "seed": 3, "score": 0.5}
    with Image.open(io.BytesIO(png_bytes(image, facts))) as again:
        again.load()
        assert np.array_equal(np.asarray(again), np.asarray(image))
        assert {key: again.info[key] for key in facts} == {key: str(value) for key, value in facts.items()}


@pytest.mark.parametrize("suffix", PICTURES)
@pytest.mark.parametrize("transparent", [False, True])
def test_a_picture_of_each_format_is_that_format_and_keeps_its_facts(suffix: str, transparent: bool) -> None:
    chosen = PICTURES[suffix]
    rows = torch.linspace(0.2, 0.8, 16)
    image = to_image(torch.stack([rows, 0.5 * rows, 1.0 - rows]).unsqueeze(-1).expand(3, 16, 16))
    if transparent:
        if not chosen.has_alpha:
            return  # Refused by `picture_format`.
        image.putalpha(Image.fromarray((np.indices((16, 16)).sum(axis=0) % 16 * 16).astype(np.uint8)))
    white = Image.new("RGBA", (16, 16), "white")
    facts: Metadata = {"prompt": "日本の急須, 🫖 «été»" * 100, "seed": 3, "score": 0.5, "generator": "dreamfields 0"}
    facts = {**facts, "credit": "began as 'é' by A. Maker, CC BY 4.0"}
    content = picture_bytes(image, chosen, facts)
    assert picture_bytes(image, chosen, facts) == content
    with Image.open(io.BytesIO(content)) as again:
        again.load()
        assert (again.format, again.mode, again.size) == (chosen.codec, image.mode, image.size)
        assert Image.MIME[again.format or ""] == chosen.media_type
        seen = [np.asarray(Image.alpha_composite(white, one.convert("RGBA"))).astype(int) for one in (again, image)]
        assert np.abs(seen[0] - seen[1]).max() <= (0 if chosen.facts == "text chunks" else 12)
        assert kept_facts(again) == {key: str(value) for key, value in facts.items()}
        if chosen.facts == "EXIF":
            exif = again.getexif()
            assert exif[ExifTags.Base.ImageDescription].encode("latin-1").decode() == facts["prompt"]
            assert exif[ExifTags.Base.Software] == facts["generator"]
            assert exif[ExifTags.Base.Copyright].encode("latin-1").decode() == facts["credit"]


def kept_facts(image: Image.Image) -> dict[str, str]:
    """Return the facts that a picture holds, as texts: those of text chunks, or of the user comment in EXIF."""
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if comment is None:
        return {str(key): str(value) for key, value in image.info.items()}
    code, text = comment[:8], comment[8:]
    assert code == b"ASCII\0\0\0"
    return {key: str(value) for key, value in json.loads(text).items()}


def test_a_picture_s_ending_is_its_format_in_small_letters_or_capitals() -> None:
    for ending, known in PICTURES.items():
        assert picture_format(Path(f"a{ending}")) is picture_format(Path(f"a{ending.upper()}")) is known
        if known.has_alpha:
            assert picture_format(Path(f"a{ending}"), transparent=True) is known
        else:
            with pytest.raises(UsageError, match=rf"\{ending} cannot leave the background out; use \.png or \.webp"):
                picture_format(Path(f"a{ending}"), transparent=True)
    listed = ", ".join(PICTURES)
    with pytest.raises(UsageError, match=rf"picture format called '\.gif'; known: {re.escape(listed)}$"):
        picture_format(Path("a.gif"))
    with pytest.raises(UsageError, match=rf"'a' has no ending, which says the picture format; .* {re.escape(listed)}$"):
        picture_format(Path("b.d/a"))


def test_a_sheet_shows_the_views_in_order_each_with_a_label() -> None:
    field = BallsField([Ball(0.3, (0.5, 0.0, 0.0), (0.9, 0.1, 0.1)), Ball(0.3, (0.0, 0.0, 0.5), (0.1, 0.1, 0.9))])
    sheet = contact_sheet(field, SMALL)
    assert sheet.size == (4 * 48, 2 * 48)
    framing = frame(field)
    for index, camera in enumerate(turntable(8, fov_deg=framing.fov_deg, target=framing.target)):
        column, row = index % 4, index // 4
        tile = np.asarray(sheet.crop((column * 48, row * 48, column * 48 + 48, row * 48 + 48))).astype(int)
        alone = np.asarray(view(field, camera, 48, 32)).astype(int)
        labelled = (tile != alone).any(axis=-1)
        assert labelled.any()
        assert not labelled[14:].any()


def test_the_front_is_first_and_right_is_right() -> None:
    field = BallsField([Ball(0.3, (0.5, 0.0, 0.0), (0.9, 0.1, 0.1))])
    reds = []
    for azimuth in (0.0, 180.0):
        pixels = np.asarray(view(field, Camera(azimuth, 20.0), 48, 32)).astype(int)
        reds.append(np.argwhere(pixels[..., 0] - pixels[..., 1] > 100)[:, 1].mean())
    assert reds[0] > 24 + 4
    assert reds[1] < 24 - 4


def test_an_occupancy_saves_work_and_changes_no_picture() -> None:
    field = sphere(0.5, edge=0.2)
    everywhere = np.asarray(view(field, Camera(30.0, 20.0), 48, 256)).astype(int)
    occupied = np.asarray(view(field, Camera(30.0, 20.0), 48, 256, occupied_cells(field, 16, 0.05))).astype(int)
    assert np.abs(everywhere - occupied).max() <= 3


def test_nothing_is_blank_and_the_smallest_object_is_not() -> None:
    camera = Camera(0.0, 20.0)
    assert is_blank(view(VolumeField(torch.zeros(3, 3, 3)), camera, 48, 8))
    assert is_blank(view(sphere(0.9, edge=0.2), camera, 48, 32, torch.zeros(2, 2, 2, dtype=torch.bool)))
    assert is_blank(Image.new("RGB", (64, 64), (12, 200, 7)))
    assert not is_blank(view(sphere(0.1), camera, 48, 64))
    assert not is_blank(view(sphere(0.7), camera, 48, 32))


def test_a_field_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DegenerateError, match="not finite"):
        contact_sheet(VolumeField(torch.full((3, 3, 3), torch.nan)), SMALL)
