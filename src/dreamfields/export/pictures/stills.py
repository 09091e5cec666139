"""Pictures of a field: single views over white, contact sheets and PNG files that say what they show."""

import io
from typing import Final

import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from dreamfields.errors import DegenerateError
from dreamfields.export.settings import ExportSettings, Metadata
from dreamfields.render.framing import frame
from dreamfields.render.renderer import render_still
from dreamfields.scene import cameras
from dreamfields.scene.cameras import Camera
from dreamfields.scene.fields.base import AbstractField

SHEET_ROWS: Final = 2
SHEET_COLUMNS: Final = 4
"""Eight views, 45 degrees apart: every side of an object shows in two of them."""


def to_image(rgb: Tensor) -> Image.Image:
    """Return a picture (3, h, w) as an 8-bit RGB image; values outside [0, 1] are clipped.

    Raises:
        DegenerateError: a value is not finite.
    """
    if not torch.isfinite(rgb).all():
        raise DegenerateError("the picture holds values that are not finite; resume from an earlier checkpoint")
    levels = (rgb.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def png_bytes(image: Image.Image, metadata: Metadata) -> bytes:
    """Return an image as PNG with one international text chunk for each fact; keys are 1 to 79 Latin-1 characters."""
    text = PngInfo()
    for key, value in metadata.items():
        text.add_itxt(key, str(value))
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=text)
    return file.getvalue()


def view(field: AbstractField, camera: Camera, size: int, samples: int, occupancy: Tensor | None = None) -> Image.Image:
    """Render one view of a field over white, as size x size pixels.

    Raises:
        DegenerateError: the field holds values that are not finite.
    """
    return to_image(render_still(field, camera, size, samples, occupancy=occupancy).over(1.0)[0])


def contact_sheet(field: AbstractField, settings: ExportSettings, occupancy: Tensor | None = None) -> Image.Image:
    """Render eight views from around an object, azimuths 0, 45, ... 315 from the top left, labelled and framed alike.

    Args:
        field: what is there.
        settings: `sheet_size` pixels a side of each view, and the samples of a ray.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.

    Raises:
        DegenerateError: the field holds values that are not finite.
    """
    size = settings.sheet_size
    sheet = Image.new("RGB", (SHEET_COLUMNS * size, SHEET_ROWS * size), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(8, size // 14))
    framing = frame(field)
    views = cameras.turntable(SHEET_ROWS * SHEET_COLUMNS, fov_deg=framing.fov_deg, target=framing.target)
    for index, camera in enumerate(views):
        row, column = divmod(index, SHEET_COLUMNS)
        corner = (column * size, row * size)
        sheet.paste(view(field, camera, size, settings.still_samples, occupancy), corner)
        margin = size // 24
        draw.text((corner[0] + margin, corner[1] + margin), f"{camera.azimuth_deg:.0f}°", "grey", font)
    return sheet


def is_blank(image: Image.Image) -> bool:
    """Tell whether a view shows nothing: fewer than one pixel in a thousand differs visibly from the top left one.

    Exports never ask: a blank picture of a dying run is what its owner must see. It is for tests and judges, and for
    views without a label.
    """
    visible = 8  # of 255 levels in any channel; below, the eye takes it for the same colour
    pixels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8).reshape(-1, 3).short()
    differing = ((pixels - pixels[0]).abs().amax(dim=1) > visible).sum()
    return int(differing) * 1000 < len(pixels)
