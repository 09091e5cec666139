"""Whether numbers are numbers: the one check that stands before every update and every save.

It comes first of all: clipping a gradient that holds one NaN would spread it over every weight.
"""

from collections.abc import Mapping

import torch
from torch import Tensor


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds a value that is not finite; None if all are finite."""
    return next((name for name, one in tensors.items() if one.is_floating_point() and not is_finite(one)), None)


def is_finite(tensor: Tensor) -> bool:
    """Tell whether every value is finite."""
    # A sum is finite only if all of it is, and takes a tenth of the time of looking at each; it may overflow, though.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())
