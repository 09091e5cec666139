"""A program of its own that lays a mesh out flat with xatlas, so that it can be killed when that does not end.

It is started by its path, not imported, and needs NumPy and xatlas alone: a mesh comes in on standard input, its atlas
goes out on standard output, each as plain arrays of little-endian 32-bit numbers after their counts. Its argument is
the processor time in seconds after which the system ends it. Exit code 3 says that there is no xatlas here.
"""

import math
import resource
import sys


def main() -> int:
    """Read counts v and f, texels a side and between charts, vertices (v, 3) and faces (f, 3); write the atlas."""
    seconds = math.ceil(float(sys.argv[1]))
    # The lower limit sends a signal of its own; at the higher one it could not be told from a lack of memory.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        import numpy as np
        import xatlas
    except ImportError:
        return 3
    given = sys.stdin.buffer.read()
    vertex_count, face_count, size, padding = (int(count) for count in np.frombuffer(given, "<u4", 4))
    vertices = np.frombuffer(given, "<f4", vertex_count * 3, 16).reshape(-1, 3)
    faces = np.frombuffer(given, "<u4", face_count * 3, 16 + vertices.nbytes).reshape(-1, 3)
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding = size, padding
    atlas.generate(xatlas.ChartOptions(), packing)
    sources, corners, uv = atlas[0]
    # An atlas is seldom square: coordinates become shares of its longer side, so that texels stay so.
    uv = uv * np.array([atlas.width, atlas.height], np.float32) / np.float32(max(atlas.width, atlas.height, 1))
    counts = np.array([len(sources), len(corners)], "<u4")
    for part in (counts, sources.astype("<u4"), corners.astype("<u4"), uv.astype("<f4")):
        sys.stdout.buffer.write(part.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
