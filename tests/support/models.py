"""Small sets of coloured 3D models, made on the spot."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import trimesh

SOLIDS = ("box", "ball", "cone", "ring")
COLOURS = {"red": (200, 30, 35), "blue": (35, 85, 200), "green": (60, 150, 60)}


def solid(name: str) -> trimesh.Trimesh:
    """Return a solid centred at the origin, with the largest half extent 1."""
    made = {
        "box": lambda: trimesh.creation.box((2.0, 2.0, 2.0)),
        "ball": lambda: trimesh.creation.icosphere(2, 1.0),
        "cone": lambda: trimesh.creation.cone(1.0, 2.0, sections=24).apply_translation((0.0, 0.0, -1.0)),
        "ring": lambda: trimesh.creation.torus(0.7, 0.3, 24, 12),
    }[name]()
    assert isinstance(made, trimesh.Trimesh)
    return made


def write_models(folder: Path, names: tuple[str, ...] = SOLIDS, licence: str = "") -> Path:
    """Write one model for each name and colour, the first one with its front at 90 degrees, and return the folder.

    Models under a licence are of furniture, whose fronts need not be known; else they are animals.
    """
    folder.mkdir(parents=True)
    rows = []
    with zipfile.ZipFile(folder / "models.zip", "w") as archive:
        for number, (name, colour) in enumerate((name, colour) for name in names for colour in COLOURS):
            shape, content = solid(SOLIDS[number % len(SOLIDS)]), io.BytesIO()
            colours = np.tile(np.array(COLOURS[colour], np.uint8), (len(shape.vertices), 1))
            np.savez(
                content, vertices=shape.vertices.astype(np.float16), faces=shape.faces.astype(np.uint16), colors=colours
            )
            archive.writestr(f"{name}-{colour}.npz", content.getvalue())
            row = {"file": f"{name}-{colour}.npz", "name": name, "category": "animal", "colours": [colour]}
            row |= {"licence": licence, "category": "furniture"} if licence else {}
            row["captions"] = [f"a {colour} {name}", f"a {name}"]
            rows.append(row | ({"front_deg": 90} if number == 0 else {}))
    (folder / "models.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder
