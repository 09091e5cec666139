"""Take things away from a finished run: an image from any side, other mesh formats, a video.

python examples/03_render_and_export.py --run runs/a-teapot-0
"""

from pathlib import Path

import tyro

import dreamfields
from dreamfields import Camera


def main(run: Path = Path("runs/a-teapot-0"), out: Path = Path("exports"), size: int = 256) -> None:
    """Write an image, a print-ready mesh, a coloured point list and a turntable beside each other."""
    loaded = dreamfields.load(run)
    camera = Camera(azimuth_deg=45.0, elevation_deg=20.0)
    print(loaded.picture(out / "side.png", camera))
    asset = loaded.asset(size_mm=80.0)  # The mesh is made once, whatever it is written to.
    for suffix in (".glb", ".stl", ".ply", ".html"):
        print(loaded.export(out / f"object{suffix}", asset))
    print(loaded.turntable(out / "turntable.mp4"))
    rendering = loaded.render(camera, size=size)
    print(f"mean opacity seen from there: {float(rendering.opacity.mean()):.2f}")


if __name__ == "__main__":
    tyro.cli(main)
