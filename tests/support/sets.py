"""Small sets of pictures with captions, made on the spot: coloured shapes that say what they are."""

import io
import json
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "orange", "purple", "black")
SHAPES = ("disc", "square")


def picture(colour: str, shape: str, size: int = 48) -> Image.Image:
    """Draw a shape on white."""
    image = Image.new("RGB", (size, size), "white")
    draw, box = ImageDraw.Draw(image), (size // 4, size // 4, 3 * size // 4, 3 * size // 4)
    (draw.ellipse if shape == "disc" else draw.rectangle)(box, fill=colour)
    return image


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def write_set(folder: Path, *, zipped: bool = True, heldout: int = 0) -> Path:
    """Write one picture for each colour and shape, the last `heldout` of them held out, and return the folder."""
    folder.mkdir(parents=True)
    drawn = {f"{colour}-{shape}.png": (colour, shape) for colour in COLOURS for shape in SHAPES}
    contents = {name: png(picture(*what)) for name, what in drawn.items()}
    rows = []
    for index, (name, (colour, shape)) in enumerate(drawn.items()):
        row = {"image": name, "texts": [f"a {colour} {shape}", f"a photo of a {colour} {shape}"]}
        rows.append(row | ({"split": "heldout"} if index >= len(drawn) - heldout else {}))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    if zipped:
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        (folder / "images").mkdir()
        for name, content in contents.items():
            (folder / "images" / name).write_bytes(content)
    return folder
