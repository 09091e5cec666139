"""Sets of pictures with captions as a command names them."""

from dreamfields.storage import user_path
from dreamfields.train.pairs import Pictures, read_pairs
from dreamfields.train.shapes import ROWS, read_shapes


def read_set(place: str) -> Pictures:
    """Return the set of pictures or of 3D models at a place; see `read_pairs` and `read_shapes`.

    Raises UsageError: nothing is there, or it cannot be read.
    """
    folder = user_path(place)
    return read_shapes(folder) if (folder / ROWS).is_file() else read_pairs(place)
