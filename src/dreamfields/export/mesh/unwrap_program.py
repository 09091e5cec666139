"""A program that lays a mesh out with xatlas, in a process of its own so that it can be killed.

It is started by its path and needs only NumPy and xatlas. It reads a mesh from standard input and writes the atlas to
standard output, each as arrays of little-endian 32-bit numbers after their counts. Its argument is the limit of its
processor time in seconds. Exit code 3 means that xatlas is not installed.
"""

import math
import resource
import sys


def main() -> int:
    """Read counts v and f, texels a side and between charts, vertices (v, 3) and faces (f, 3); write the atlas."""
    seconds = math.ceil(float(sys.argv[1]))
    # The soft limit sends SIGXCPU; the hard one SIGKILL, which looks like a lack of memory.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        import numpy as np
        import xatlas
    except ImportError:
        return 3
    request = sys.stdin.buffer.read()
    vertex_count, face_count, size, padding = (int(count) for count in np.frombuffer(request, "<u4", 4))
    vertices = np.frombuffer(request, "<f4", vertex_count * 3, 16).reshape(-1, 3)
    faces = np.frombuffer(request, "<u4", face_count * 3, 16 + vertices.nbytes).reshape(-1, 3)
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces)
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding = size, padding
    atlas.generate(xatlas.ChartOptions(), packing)
    sources, corners, uv = atlas[0]
    # An atlas is seldom square: coordinates become fractions of its longer side, so that texels stay square.
    uv = uv * np.array([atlas.width, atlas.height], np.float32) / np.float32(max(atlas.width, atlas.height, 1))
    counts = np.array([len(sources), len(corners)], "<u4")
    for part in (counts, sources.astype("<u4"), corners.astype("<u4"), uv.astype("<f4")):
        sys.stdout.buffer.write(part.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
