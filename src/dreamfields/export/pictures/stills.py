"""Images of a field: its colours, opacity, depth, normals or textureless shape, contact sheets, and picture files."""

import io
import json
import math
from dataclasses import dataclass
from typing import Final

import torch
from PIL import ExifTags, Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from dreamfields.errors import DegenerateError
from dreamfields.export.pictures.table import PictureFormat
from dreamfields.export.settings import ExportSettings, Metadata, Pass
from dreamfields.render.framing import Framing, frame
from dreamfields.render.renderer import Rendering, render_still
from dreamfields.render.shading import light_beside, normals_at, textureless_fields
from dreamfields.scene.cameras import Camera, turntable
from dreamfields.scene.fields.base import AbstractField

SHEET_ROWS: Final = 2
SHEET_COLUMNS: Final = 4  # Eight views, 45 degrees apart: each side of an object shows in several of them
QUALITY: Final = 95  # Of JPEG and WebP, of 100: the loss cannot be seen
LIGHT_TURN_DEG: Final = -40.0  # Azimuth of the light of textureless images beside the camera: on its left


@dataclass(frozen=True)
class Shot:
    """How images of a field are rendered."""

    size: int = 512  # Pixels a side
    samples: int = 128  # Samples a ray
    show: Pass = "colour"  # What the image shows
    transparent: bool = False  # No background; else it is white, or black for opacity and depth


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


def picture_bytes(image: Image.Image, chosen: PictureFormat, metadata: Metadata) -> bytes:
    """Return an image in a format with its facts: text chunks, or EXIF whose user comment is their JSON."""
    if chosen.facts == "text chunks":
        return png_bytes(image, metadata)
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = str(metadata.get("prompt", "")).encode()
    exif[ExifTags.Base.Software] = str(metadata.get("generator", "dreamfields"))
    if "credit" in metadata:
        exif[ExifTags.Base.Copyright] = str(metadata["credit"]).encode()
    comment = b"ASCII\0\0\0" + json.dumps(dict(metadata)).encode("ascii")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    file = io.BytesIO()
    image.save(file, format=chosen.codec, quality=QUALITY, subsampling=0, exif=exif.tobytes())
    return file.getvalue()


def view(field: AbstractField, camera: Camera, size: int, samples: int, occupancy: Tensor | None = None) -> Image.Image:
    """Render a view of a field over white, size x size pixels, `samples` a ray. Raises DegenerateError: not finite."""
    return to_image(render_still(field, camera, size, samples, occupancy=occupancy).over(1.0)[0])


def contact_sheet(field: AbstractField, settings: ExportSettings, occupancy: Tensor | None = None) -> Image.Image:
    """Render eight labelled views, azimuths 0, 45, ... 315 degrees. Raises DegenerateError: the field is not finite."""
    size = settings.sheet_size
    sheet = Image.new("RGB", (SHEET_COLUMNS * size, SHEET_ROWS * size), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(max(8, size // 14))
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


def take(field: AbstractField, camera: Camera, shot: Shot, framing: Framing, occupancy: Tensor | None) -> Image.Image:
    """Render an image of a field: RGB, or RGBA with straight alpha where it is transparent.

    The framing's radius is the range of an image of depths; the occupancy, bool (k, k, k), is of cells that may hold
    density. Raises DegenerateError: the field holds values that are not finite.
    """
    if shot.show == "textureless":
        with torch.no_grad():
            (field,) = textureless_fields(field, [light_beside(camera.azimuth_deg, turn_deg=LIGHT_TURN_DEG)])
    rendering = render_still(field, camera, shot.size, shot.samples, occupancy=occupancy)
    opacity, colour = rendering.opacity[0].cpu(), _straight(field, camera, rendering, shot, framing).cpu()
    if shot.transparent:
        image = to_image(colour)
        image.putalpha(to_image(opacity.expand(3, -1, -1)).convert("L"))
        return image
    background = 0.0 if shot.show in ("opacity", "depth") else 1.0
    if shot.show in ("colour", "textureless"):
        return to_image(rendering.over(background)[0])
    return to_image(colour * opacity + background * (1.0 - opacity))


def refuse_blank(images: list[Image.Image]) -> None:
    """Make sure that images show something. Raises DegenerateError: all of them are blank."""
    if all(is_blank(image) for image in images):
        why = "every pixel has the same colour; the scene is empty or full, the camera looks elsewhere or is inside"
        raise DegenerateError(f"there is nothing to see: {why} the object; nothing was written")


def framed_radius(framing: Framing) -> float:
    """Return the radius in scene units of the sphere that a framing of `render.framing.frame` shows."""
    return 4.0 * math.sin(math.atan(math.tan(math.radians(framing.fov_deg) / 2.0) / 1.1))


def normals(field: AbstractField, camera: Camera, rendering: Rendering) -> Tensor:
    """Return the outward unit normals (size, size, 3) at rays' mean depths; to the camera where opacity is even."""
    size = rendering.opacity.shape[-1]
    rays = camera.rays(size).to(rendering.opacity.device)
    distances = (rendering.depth / rendering.opacity.clamp(min=1e-6)).reshape(-1, 1)
    found = normals_at(field, (rays.origins + distances * rays.directions).clamp(-1.0, 1.0))
    return torch.where(found.norm(dim=-1, keepdim=True) > 0.5, found, -rays.directions).reshape(size, size, 3)


def _straight(field: AbstractField, camera: Camera, rendering: Rendering, shot: Shot, framing: Framing) -> Tensor:
    """Return the colours (3, h, w) of an image before they are multiplied by the opacity."""
    opacity = rendering.opacity[0].clamp(min=1e-6)
    match shot.show:
        case "colour" | "textureless":
            return rendering.colour[0] / opacity
        case "opacity":
            return torch.ones_like(rendering.colour[0])
        case "depth":
            radius = framed_radius(framing)
            nearness = (camera.radius + radius - rendering.depth[0] / opacity) / (2.0 * radius)
            return (0.1 + 0.9 * nearness.clamp(0.0, 1.0)).expand(3, -1, -1)  # never as black as the background
        case "normal":
            axes = camera.axes().to(opacity.device) * torch.tensor([[1.0], [1.0], [-1.0]], device=opacity.device)
            return 0.5 + 0.5 * (normals(field, camera, rendering) @ axes.T).permute(2, 0, 1)
