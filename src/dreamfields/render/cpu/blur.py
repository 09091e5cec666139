"""The Gaussian blur of backgrounds as a compiled loop: `render.blur.gaussian_blur`.

Notation: p planes of n x n pixels, flat; kernels (b, r+1) from the middle to one end, one for the p / b planes of an
image. Threads share the planes.
"""

from dreamfields.cpu import Floats
from dreamfields.cpu.compiled import ZERO, compiled


@compiled()
def blur(planes: Floats, kernels: Floats, side: int, out: Floats, first: int, last: int, line: Floats) -> None:
    """Write the blurred planes from `first` to before `last`; `line` is memory for n + 2 r pixels."""
    area = side * side
    each = len(planes) // (area * len(kernels))
    for plane in range(first, last):
        kernel, source = kernels[plane // each], planes[plane * area : (plane + 1) * area]
        reach = len(kernel) - 1
        while reach > 0 and kernel[reach] == ZERO:
            reach -= 1
        for row in range(side):
            # A line of the plane blurred downwards, then with its ends repeated, then blurred to the right.
            middle = line[reach : reach + side]
            own = source[row * side : (row + 1) * side]
            for i in range(side):
                middle[i] = kernel[0] * own[i]
            for offset in range(1, reach + 1):
                above, below = side * max(row - offset, 0), side * min(row + offset, side - 1)
                add_pair(middle, kernel[offset], source[above : above + side], source[below : below + side])
            line[:reach] = middle[0]
            line[reach + side : 2 * reach + side] = middle[side - 1]
            target = out[plane * area + row * side : plane * area + (row + 1) * side]
            for i in range(side):
                target[i] = kernel[0] * middle[i]
            for offset in range(1, reach + 1):
                left, right = reach - offset, reach + offset
                add_pair(target, kernel[offset], line[left : left + side], line[right : right + side])


@compiled(inline=True)
def add_pair(total: Floats, weight: float, one: Floats, other: Floats) -> None:
    """Add a weight times the sum of two lines."""
    for i in range(len(total)):
        total[i] += weight * (one[i] + other[i])
