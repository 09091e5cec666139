"""Put two sides of finished runs into one picture: python scripts/strip.py OUT.webp RUN [RUN ...]."""

import sys
from pathlib import Path

from PIL import Image

import dreamfields
from dreamfields.export.pictures.stills import picture_bytes, to_image
from dreamfields.export.pictures.table import picture_format
from dreamfields.render.framing import frame
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write

SIZE = 192
AZIMUTHS_DEG = (45.0, 135.0)


def main(out: str, *runs: str) -> None:
    """Write the strip: one column a run, one row a side."""
    chosen = picture_format(Path(out))
    strip = Image.new("RGB", (SIZE * len(runs), SIZE * len(AZIMUTHS_DEG)), "white")
    for column, path in enumerate(runs):
        run = dreamfields.load(path)
        framing = frame(run.trained_state().field)
        for row, azimuth in enumerate(AZIMUTHS_DEG):
            camera = Camera(azimuth, 20.0, fov_deg=framing.fov_deg, target=framing.target)
            seen = to_image(run.render(camera, SIZE, samples=96).over(1.0)[0])
            strip.paste(seen, (column * SIZE, row * SIZE))
    atomic_write(Path(out), picture_bytes(strip, chosen, {}))


if __name__ == "__main__":
    main(*sys.argv[1:])
