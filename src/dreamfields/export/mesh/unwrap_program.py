"""A program that lays a mesh out with xatlas, in a process of its own so that it can be killed.

It reads a mesh from standard input and writes the atlas to standard output, both as NPZ. Its arguments are the limit of
its processor time in seconds, the texels a side, and those between charts. Exit code 3: xatlas is not installed.
"""

import io
import math
import resource
import sys


def main() -> int:
    """Read vertices (v, 3) and faces (f, 3); write uv (w, 2), vertices (w,) and faces (f, 3) of an atlas."""
    seconds = math.ceil(float(sys.argv[1]))
    # The soft limit sends SIGXCPU; the hard one SIGKILL, which looks like a lack of memory.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        import numpy as np
        import xatlas
    except ImportError:
        return 3
    mesh = np.load(io.BytesIO(sys.stdin.buffer.read()))
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh["vertices"].astype(np.float32), mesh["faces"].astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding = (int(argument) for argument in sys.argv[2:])
    atlas.generate(xatlas.ChartOptions(), packing)
    vertices, faces, uv = atlas[0]
    # An atlas is seldom square: coordinates become fractions of its longer side, so that texels stay square.
    uv = uv * np.array([atlas.width, atlas.height], np.float32) / np.float32(max(atlas.width, atlas.height, 1))
    answer = io.BytesIO()
    np.savez(answer, uv=uv.astype(np.float32), vertices=vertices.astype(np.int32), faces=faces.astype(np.int32))
    sys.stdout.buffer.write(answer.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
