"""How good and how fast meshes of finished runs are: `python benchmarks/export.py RUN... --out FOLDER`.

Writes every format of each run's object and a strip of pictures, the field above and the GLB, read back by another
library, below; prints one row a run. Silhouettes and colours are compared from eight sides at a height from which no
texture was made. Times are the processor's, of the mesh with its texture and then of the GLB, children included.
"""

import argparse
import resource
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image

from dreamfields import api, presets
from dreamfields.export.asset import Asset
from dreamfields.export.formats.table import FORMATS, write_asset
from dreamfields.export.mesh.components import cameras_around
from dreamfields.export.mesh.fidelity import held_out_cameras
from dreamfields.export.mesh.raster import cover_view
from dreamfields.render.renderer import render_still
from dreamfields.scene.cameras import Camera
from dreamfields.storage import atomic_write

import runs

SIZE = 192
HEADINGS = "run|faces|pieces|largest|volume|IoU|lowest|PSNR dB|texture|STL closed|3MF closed|seconds"


def main() -> None:
    """Measure the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("exports"))
    parser.add_argument("--preset", default=presets.DEFAULT, help="whose export settings are used")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print("|", HEADINGS.replace("|", " | "), "|")
    print("|" + "---|" * (HEADINGS.count("|") + 1))
    rows = [measure(path, arguments.out, arguments.preset) for path in arguments.runs]
    iou, psnr = (np.median([row[index] for row in rows]) for index in (0, 1))
    print(f"\nmedian IoU {iou:.3f}, median PSNR {psnr:.1f} dB")


def measure(path: Path, out: Path, preset: str) -> tuple[float, float]:
    """Write and re-read a run's object, print its row, and return its IoU and its PSNR."""
    run = api.load(path)
    began = work()
    asset = run.asset(presets.preset(preset).export)
    write_asset(asset, out / f"{path.name}.glb")
    seconds = work() - began
    for suffix in FORMATS:
        write_asset(asset, out / f"{path.name}{suffix}")
    shape = read(out / f"{path.name}.glb")
    ious, errors, strips = compare(shape, asset)
    strip = Image.fromarray((np.concatenate(strips, axis=1) * 255.0).astype(np.uint8))
    atomic_write(out / f"{path.name}-strip.webp", runs.webp(strip))
    shape.merge_vertices(merge_tex=True, merge_norm=True)
    volumes = np.abs([body.volume for body in shape.split(only_watertight=False)])
    closed = [read(out / f"{path.name}{suffix}").is_watertight for suffix in (".stl", ".3mf")]
    iou, psnr = float(np.mean(ious)), float(-10.0 * np.log10(np.mean(errors)))
    summary = asset.summary()
    print(
        f"| {path.name} | {len(shape.faces)} | {len(volumes)} | {volumes.max() / volumes.sum():.3f} | "
        f"{shape.volume:.3f} | {iou:.3f} | {min(ious):.3f} | {psnr:.1f} | {summary['texture']} | {closed[0]} | "
        f"{closed[1]} | {seconds:.1f} |",
        flush=True,
    )
    return iou, psnr


def compare(shape: trimesh.Trimesh, asset: Asset) -> tuple[list[float], list[float], list[NDArray[np.float64]]]:
    """Return each side's IoU, mean square error and pair of pictures, one above the other."""
    ious, errors, strips = [], [], []
    for camera in held_out_cameras(cameras_around(asset.untextured.vertices)):
        field = render_still(asset.field, camera, SIZE, 96, occupancy=asset.occupancy)
        expected = field.over(1.0)[0].permute(1, 2, 0).double().numpy().clip(0.0, 1.0)
        picture, mask = draw(shape, camera)
        silhouette = field.opacity[0, 0].numpy() >= 0.5
        ious.append(float((silhouette & mask).sum() / (silhouette | mask).sum()))
        errors.append(float(np.square(picture - expected).mean()))
        strips.append(np.concatenate([expected, picture]))
    return ious, errors, strips


def draw(shape: trimesh.Trimesh, camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a picture over white of a mesh as it was read, and where it is."""
    found = cover_view(shape.vertices, shape.faces, camera, SIZE)
    image = np.asarray(shape.visual.material.baseColorTexture.convert("RGB")) / 255.0
    uv = found.interpolate(np.asarray(shape.visual.uv), shape.faces)
    texels = np.clip((uv * [len(image), -len(image)] + [0, len(image)]).astype(int), 0, len(image) - 1)
    picture = np.ones((SIZE, SIZE, 3))
    picture[found.mask] = image[texels[:, 1], texels[:, 0]]
    return picture, found.mask


def read(path: Path) -> trimesh.Trimesh:
    """Read the one mesh of a file, a GLB in scene units, as the field and its cameras are."""
    scene = trimesh.load_scene(path)
    (shape,) = scene.geometry.values()
    return shape.apply_scale(1.0 / scene.metadata.get("metres_per_unit", 1.0))


def work() -> float:
    """Return the processor time of this process and its children so far, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
