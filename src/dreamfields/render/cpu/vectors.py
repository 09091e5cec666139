"""The two vector operations of the loops: the value of the grid at a sample, and the other way.

The compiler does not find by itself that the 4 channels of a node are one vector, that two nodes beside each other in x
are one of 8, nor that the sum over all 8 nodes around a sample may stay in registers. Here it is spelt out.

The code of the loops is kept on disk and renewed when `kernels` changes, not when this file does: change both.

Notation: values[v : v + 4] are a sample's numbers; nodes[node : node + 4] those of the lowest node around it, and row
and layer how far the next one in y and in z is; right, up, front in [0, 1] say where between its nodes the sample lies.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dreamfields.render.cpu.compiled import Floats

CHANNELS = 4
_ROUNDING = ("contract",)  # Products and sums may be fused, as everywhere in the loops.


class _Cell:
    """What both operations begin with: a sample, and the 8 nodes around it as 4 pairs with a share each."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> None:
        _, v, _, node, apart, fractions = arguments
        row, layer = (builder.extract_value(apart, index) for index in range(2))
        right, up, front = (builder.extract_value(fractions, index) for index in range(3))
        self.builder = builder

        def start(array: int, index: ir.Value) -> ir.Value:
            return builder.gep(
                context.make_array(signature.args[array])(context, builder, arguments[array]).data, [index]
            )

        def rest(fraction: ir.Value) -> ir.Value:
            return builder.fsub(ir.FloatType()(1.0), fraction)

        self.values = builder.bitcast(start(0, v), _vector(CHANNELS).as_pointer())
        lowest = start(2, node)
        self.sides = self.spread(rest(right), right)
        self.pairs = [
            (
                builder.bitcast(builder.gep(lowest, [offset]), _vector(2 * CHANNELS).as_pointer()),
                self.spread(*2 * [builder.fmul(in_y, in_z)]),
            )
            for offset, in_y, in_z in (
                (ir.IntType(64)(0), rest(up), rest(front)),
                (row, up, rest(front)),
                (layer, rest(up), front),
                (builder.add(row, layer), up, front),
            )
        ]

    def load(self, pointer: ir.Value) -> ir.Value:
        return self.builder.load(pointer, align=4)

    def store(self, vector: ir.Value, pointer: ir.Value) -> None:
        self.builder.store(vector, pointer, align=4)

    def times(self, one: ir.Value, other: ir.Value) -> ir.Value:
        return self.builder.fmul(one, other, flags=_ROUNDING)

    def plus(self, one: ir.Value, other: ir.Value) -> ir.Value:
        return self.builder.fadd(one, other, flags=_ROUNDING)

    def spread(self, *numbers: ir.Value) -> ir.Value:
        """Return a vector with each number in as many lanes as there are channels."""
        vector = ir.Constant(_vector(CHANNELS * len(numbers)), ir.Undefined)
        for lane in range(CHANNELS * len(numbers)):
            vector = self.builder.insert_element(vector, numbers[lane // CHANNELS], ir.IntType(32)(lane))
        return vector

    def lanes(self, vector: ir.Value, lanes: list[int]) -> ir.Value:
        """Return some lanes of a vector."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
        return self.builder.shuffle_vector(vector, vector, mask)


def _vector(lanes: int) -> ir.VectorType:
    return ir.VectorType(ir.FloatType(), lanes)


_LEFT, _RIGHT = list(range(CHANNELS)), list(range(CHANNELS, 2 * CHANNELS))


def _gather(cell: _Cell) -> None:
    first, second, third, fourth = (cell.times(cell.load(pair), fraction) for pair, fraction in cell.pairs)
    sides = cell.times(cell.plus(cell.plus(first, second), cell.plus(third, fourth)), cell.sides)
    cell.store(cell.plus(cell.lanes(sides, _LEFT), cell.lanes(sides, _RIGHT)), cell.values)


def _scatter(cell: _Cell) -> None:
    sides = cell.times(cell.lanes(cell.load(cell.values), _LEFT + _LEFT), cell.sides)
    for pair, fraction in cell.pairs:
        cell.store(cell.plus(cell.load(pair), cell.times(sides, fraction)), pair)


def _operation(make: Callable[[_Cell], None], *arguments: Any) -> Any:
    """Say how the compiler makes an operation of the given types."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: list[ir.Value]) -> ir.Value:
        make(_Cell(context, builder, signature, values))
        return context.get_dummy_value()

    return types.void(*arguments), generate


def _gather_of(typing: Any, values: Any, v: Any, nodes: Any, node: Any, apart: Any, fractions: Any) -> Any:
    return _operation(_gather, values, v, nodes, node, apart, fractions)


def _scatter_of(typing: Any, values: Any, v: Any, nodes: Any, node: Any, apart: Any, fractions: Any) -> Any:
    return _operation(_scatter, values, v, nodes, node, apart, fractions)


Operation = Callable[[Floats, int, Floats, int, tuple[int, int], tuple[np.float32, np.float32, np.float32]], None]

gather = cast(Operation, intrinsic(_gather_of))
"""Write the trilinear value, values[v : v + 4], for (values, v, nodes, node, (row, layer), (right, up, front))."""
scatter = cast(Operation, intrinsic(_scatter_of))
"""Add values[v : v + 4], by their shares, to the 8 nodes around the sample: `gather` the other way."""
