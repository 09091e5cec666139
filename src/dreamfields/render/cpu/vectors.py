"""The two vector operations of the loops over rays and over images: interpolate a grid at a sample, and its VJP.

The compiler does not see that the 4 channels of a node are one vector, that two nodes side by side in x are one of 8,
nor that the sum over the nodes of a cell can stay in registers. So these are written as LLVM instructions.

Notation: values[v : v + 4] belong to a sample; nodes[node : node + 4] to the lowest corner of its cell, with its next
node along each further axis `strides` numbers further on; places in [0, 1] are the sample's in the cell, first in x.
A cell of a grid has 8 nodes, strides (row, layer) and 3 places; one of an image 4 nodes, strides (row,) and 2 places.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dreamfields.cpu import Floats
from dreamfields.render.cpu import CHANNELS

_NODE, _PAIR = (ir.VectorType(ir.FloatType(), lanes) for lanes in (CHANNELS, 2 * CHANNELS))
_LEFT, _RIGHT = list(range(CHANNELS)), list(range(CHANNELS, 2 * CHANNELS))
_ROUNDING = ("contract",)  # A product and a sum may be rounded once, as everywhere in the loops.


class _Cell:
    """The start of both operations: a sample, and its cell as pairs of nodes in x with a weight each."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> None:
        _, v, _, node, strides, places = arguments
        axes = signature.args[4].count
        right, *others = (builder.extract_value(places, index) for index in range(axes + 1))
        self.builder = builder
        self.load, self.store = partial(builder.load, align=4), partial(builder.store, align=4)
        self.plus, self.times = (partial(write, flags=_ROUNDING) for write in (builder.fadd, builder.fmul))

        def pointer(array: int, index: ir.Value) -> ir.Value:
            data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
            return builder.gep(data, [index])

        def rest(fraction: ir.Value) -> ir.Value:
            return builder.fsub(ir.FloatType()(1.0), fraction)

        self.values = builder.bitcast(pointer(0, v), _NODE.as_pointer())
        self.sides = self.spread(rest(right), right)
        corners = [(ir.IntType(64)(0), list[ir.Value]())]
        for axis, place in enumerate(others):
            stride = builder.extract_value(strides, axis)
            beyond = [(builder.add(offset, stride), [*factors, place]) for offset, factors in corners]
            corners = [(offset, [*factors, rest(place)]) for offset, factors in corners] + beyond
        self.pairs = []
        for offset, factors in corners:
            pair = builder.bitcast(builder.gep(pointer(2, node), [offset]), _PAIR.as_pointer())
            self.pairs.append((pair, self.spread(*2 * [reduce(builder.fmul, factors)])))

    def spread(self, *numbers: ir.Value) -> ir.Value:
        """Return a pair with the first number in all lanes of one node and the second in all of the other."""
        vector = ir.Constant(_PAIR, ir.Undefined)
        for lane in _LEFT + _RIGHT:
            vector = self.builder.insert_element(vector, numbers[lane // CHANNELS], ir.IntType(32)(lane))
        return vector

    def lanes(self, vector: ir.Value, lanes: list[int]) -> ir.Value:
        """Return some lanes of a vector."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(vector, vector, mask)


Operation = Callable[[Floats, int, Floats, int, tuple[int, ...], tuple[np.float32, ...]], None]


def _operation(write: Callable[[_Cell], None]) -> Operation:
    """Make a function of values, v, nodes, node, strides, places with the instructions of `write`."""

    def typed(typing: Any, values: Any, v: Any, nodes: Any, node: Any, strides: Any, places: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
            write(_Cell(context, builder, signature, arguments))
            return context.get_dummy_value()

        return types.void(values, v, nodes, node, strides, places), generate

    return cast(Operation, intrinsic(typed))


@_operation
def gather(cell: _Cell) -> None:
    """Write the trilinear value of the nodes to values[v : v + 4]."""
    terms = [cell.times(cell.load(pair), weight) for pair, weight in cell.pairs]
    while len(terms) > 1:
        terms = [cell.plus(*two) for two in zip(terms[::2], terms[1::2], strict=True)]
    sides = cell.times(terms[0], cell.sides)
    cell.store(cell.plus(cell.lanes(sides, _LEFT), cell.lanes(sides, _RIGHT)), cell.values)


@_operation
def scatter(cell: _Cell) -> None:
    """Add values[v : v + 4], times their trilinear weights, to the nodes of the cell: the VJP of `gather`."""
    sides = cell.times(cell.lanes(cell.load(cell.values), _LEFT + _LEFT), cell.sides)
    for pair, weight in cell.pairs:
        share = cell.times(sides, weight)
        for side, lanes in enumerate((_LEFT, _RIGHT)):
            node = cell.builder.gep(cell.builder.bitcast(pair, _NODE.as_pointer()), [ir.IntType(64)(side)])
            cell.store(cell.plus(cell.load(node), cell.lanes(share, lanes)), node)
