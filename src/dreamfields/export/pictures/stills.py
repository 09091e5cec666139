"""Images of a field: single views over white, contact sheets, and PNG files that hold their facts."""

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
from dreamfields.scene.cameras import Camera, turntable
from dreamfields.scene.fields.base import AbstractField

SHEET_ROWS: Final = 2
SHEET_COLUMNS: Final = 4  # Eight views, 45 degrees apart: each side of an object shows in several of them


def to_image(rgb: Tensor) -> Image.Image:
    """Return colours (3, h, w), clipped to [0, 1], as an 8-bit RGB image. Raises DegenerateError: one is not finite."""
    if not torch.isfinite(rgb).all():
        raise DegenerateError("the picture holds values that are not finite; resume from an earlier checkpoint")
    levels = (rgb.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def png_bytes(image: Image.Image, metadata: Metadata) -> bytes:
    """Return an image as PNG with a UTF-8 text chunk for each fact; keys are 1 to 79 Latin-1 characters."""
    text = PngInfo()
    for key, value in metadata.items():
        text.add_itxt(key, str(value))
    file = io.BytesIO()
    image.save(file, format="PNG", pnginfo=text)
    return file.getvalue()


def view(field: AbstractField, camera: Camera, size: int, samples: int, occupancy: Tensor | None = None) -> Image.Image:
    """Render a view of a field over white, size x size pixels, `samples` a ray. Raises DegenerateError: not finite."""
    return to_image(render_still(field, camera, size, samples, occupancy=occupancy).over(1.0)[0])


def contact_sheet(field: AbstractField, settings: ExportSettings, occupancy: Tensor | None = None) -> Image.Image:
    """Render eight labelled views, azimuths 0, 45, ... 315 degrees. Raises DegenerateError: the field is not finite."""
    size = settings.sheet_size
    sheet = Image.new("RGB", (SHEET_COLUMNS * size, SHEET_ROWS * size), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(8, size // 14))
    framing = frame(field)
    views = turntable(SHEET_ROWS * SHEET_COLUMNS, fov_deg=framing.fov_deg, target=framing.target)
    for index, camera in enumerate(views):
        y, x = (size * part for part in divmod(index, SHEET_COLUMNS))
        sheet.paste(view(field, camera, size, settings.still_samples, occupancy), (x, y))
        draw.text((x + size // 24, y + size // 24), f"{camera.azimuth_deg:.0f}°", "grey", font)
    return sheet


def is_blank(image: Image.Image) -> bool:
    """Tell whether an image shows nothing: fewer than one pixel in a thousand differs visibly from the top left one."""
    visible = 8  # of 255 levels in any channel; a smaller difference is hard to see
    pixels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8).reshape(-1, 3).short()
    differing = ((pixels - pixels[0]).abs().amax(dim=1) > visible).sum()
    return int(differing) * 1000 < len(pixels)
