"""The inner loops of the towers as vector instructions: a tile of a matrix product, a few positions of a filter.

The compiler would not keep their sums in registers. Notation: all arrays are flat, and `place` says where in each of
them the work begins. A product and a sum may be rounded once, and the order of a sum does not depend on the size of a
tile, so an image's activations have the same bits in any batch and with any number of threads.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dreamfields.cpu import Bytes, Floats
from dreamfields.guidance.cpu import ADD, CLIP, LANES, MASK, PLAIN
from dreamfields.guidance.lit.frozen import CEILING

_UNROLLED = 4  # Inputs of a matrix product in one turn of its loop; divides the lanes of a vector
_FLOAT, _BYTE, _INDEX = ir.FloatType(), ir.IntType(8), ir.IntType(64)
_VECTOR, _BITS = ir.VectorType(_FLOAT, LANES), ir.VectorType(ir.IntType(1), LANES)
_ROUNDING = ("contract",)

Operation = Callable[[Floats, Floats, Floats, Floats, Bytes, Floats, tuple[int, ...]], None]
"""operation(out, values, weights, bias, bits, added, place); `place` begins with the mode."""


class _Writer:
    """Instructions on vectors in flat arrays, and the numbers of `place` after the mode, which an operation names."""

    def __init__(self, context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> None:
        def data(position: int) -> ir.Value:
            return context.make_array(signature.args[position])(context, builder, arguments[position]).data

        self.builder = builder
        self.out, self.values, self.weights, self.bias, self.bits, self.added = map(data, range(6))
        self.mode, *self.place = (builder.extract_value(arguments[6], i) for i in range(signature.args[6].count))
        self.plus, self.times = (partial(write, flags=_ROUNDING) for write in (builder.fadd, builder.fmul))

    def vector(self, array: ir.Value, index: ir.Value) -> ir.Value:
        """Return a pointer to 8 numbers."""
        return self.builder.bitcast(self.builder.gep(array, [index]), _VECTOR.as_pointer())

    def load(self, array: ir.Value, index: ir.Value) -> ir.Value:
        """Read 8 numbers."""
        return self.builder.load(self.vector(array, index), align=4)

    def moved(self, index: ir.Value, by: int) -> ir.Value:
        """Return an index moved by a fixed number."""
        return self.builder.add(index, _INDEX(by)) if by else index

    def all_lanes(self, array: ir.Value, index: ir.Value) -> ir.Value:
        """Read one number into all lanes."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        number = self.builder.load(self.builder.gep(array, [index]), align=4)
        first = self.builder.insert_element(undefined, number, ir.IntType(32)(0))
        return self.builder.shuffle_vector(
            first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )

    def finish(self, sums: Sequence[tuple[ir.Value, ir.Value, ir.Value]]) -> None:
        """Write sums, each with its index in `out` and its index in `bits` or `added`, in the way that `mode` says."""
        ways = {PLAIN: self._plain, CLIP: self._clip, MASK: self._mask, ADD: self._add}
        for mode, way in ways.items():
            with self.builder.if_then(self.builder.icmp_signed("==", self.mode, _INDEX(mode))):
                for value, index, beside in sums:
                    self.builder.store(way(value, beside), self.vector(self.out, index), align=4)

    def _plain(self, value: ir.Value, _: ir.Value) -> ir.Value:
        return value

    def _clip(self, value: ir.Value, index: ir.Value) -> ir.Value:
        # Written so that NaN stays NaN.
        zero, ceiling = (ir.Constant(_VECTOR, [number] * LANES) for number in (0.0, CEILING))
        order, select = self.builder.fcmp_ordered, self.builder.select
        inside = self.builder.and_(order(">", value, zero), order("<", value, ceiling))
        self.builder.store(self.builder.bitcast(inside, _BYTE), self._byte(index))
        value = select(order("<", value, zero), zero, value)
        return select(order(">", value, ceiling), ceiling, value)

    def _mask(self, value: ir.Value, index: ir.Value) -> ir.Value:
        inside = self.builder.bitcast(self.builder.load(self._byte(index)), _BITS)
        return self.builder.select(inside, value, ir.Constant(_VECTOR, [0.0] * LANES))

    def _add(self, value: ir.Value, index: ir.Value) -> ir.Value:
        return self.plus(value, self.load(self.added, index))

    def _byte(self, index: ir.Value) -> ir.Value:
        return self.builder.gep(self.bits, [self.builder.udiv(index, _INDEX(LANES))])


def _operation(write: Callable[[_Writer], None]) -> Operation:
    """Make an operation with the instructions of `write`."""

    def typed(typing: Any, out: Any, values: Any, weights: Any, bias: Any, bits: Any, added: Any, place: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
            write(_Writer(context, builder, signature, arguments))
            return context.get_dummy_value()

        return types.void(out, values, weights, bias, bits, added, place), generate

    return cast(Operation, intrinsic(typed))


def _tile(rows: int, width: int) -> Operation:
    """Make the product of `rows` positions with a panel of `width` vectors of outputs.

    place = (mode, out, outputs of a position, values, inputs of a position, weights, bias).
    """

    def write(to: _Writer) -> None:
        build = to.builder
        out, outputs, values, inputs, weights, bias = to.place
        sums = [[cgutils.alloca_once(build, _VECTOR) for _ in range(width)] for _ in range(rows)]
        for column in range(width):
            start = to.load(to.bias, to.moved(bias, LANES * column))
            for row in sums:
                build.store(start, row[column])
        firsts = [values]
        for _ in range(rows - 1):
            firsts.append(build.add(firsts[-1], inputs))
        with cgutils.for_range(build, build.udiv(inputs, _INDEX(_UNROLLED)), intp=_INDEX) as turn:
            done = build.mul(turn.index, _INDEX(_UNROLLED))
            panel = build.add(weights, build.mul(done, _INDEX(LANES * width)))
            here = [build.add(first, done) for first in firsts]
            held = [[build.load(one) for one in row] for row in sums]
            for step in range(_UNROLLED):
                panels = [to.load(to.weights, to.moved(panel, LANES * (step * width + i))) for i in range(width)]
                for row, first in zip(held, here, strict=True):
                    value = to.all_lanes(to.values, to.moved(first, step))
                    row[:] = [to.plus(one, to.times(value, weight)) for one, weight in zip(row, panels, strict=True)]
            for row, values_of_row in zip(sums, held, strict=True):
                for one, value in zip(row, values_of_row, strict=True):
                    build.store(value, one)
        found = []
        for row in sums:
            found += [
                (build.load(one), to.moved(out, LANES * i), to.moved(out, LANES * i)) for i, one in enumerate(row)
            ]
            out = build.add(out, outputs)
        to.finish(found)

    return _operation(write)


def _positions(kernel: int, stride: int, count: int) -> Operation:
    """Make `count` positions side by side of 8 channels of a depthwise convolution.

    place = (mode, out, channels, weights and bias, then for each line of the kernel its first value).
    """

    def write(to: _Writer) -> None:
        build = to.builder
        out, channels, first, *lines = to.place
        sums, weight = [to.load(to.bias, first)] * count, first
        for line in lines:
            columns, index = [], line
            for _ in range((count - 1) * stride + kernel):
                columns.append(to.load(to.values, index))
                index = build.add(index, channels)
            for column in range(kernel):
                factor = to.load(to.weights, weight)
                weight = build.add(weight, channels)
                sums = [to.plus(one, to.times(columns[i * stride + column], factor)) for i, one in enumerate(sums)]
        found = []
        for one in sums:
            found.append((one, out, out))
            out = build.add(out, channels)
        to.finish(found)

    return _operation(write)


@_operation
def shift(to: _Writer) -> None:
    """Add 8 numbers of the bias to 8 values; place = (mode, out, values, bias)."""
    out, values, bias = to.place
    to.finish([(to.plus(to.load(to.values, values), to.load(to.bias, bias)), out, out)])


ROWS = 6  # Positions of a tile
tile, half_tile, thin_tile, thin_half_tile = (_tile(rows, width) for rows in (ROWS, 1) for width in (2, 1))
SIDE = 4  # Positions of a depthwise convolution that are computed at once
three, three_alone, three_apart, three_apart_alone = (_positions(3, s, n) for s in (1, 2) for n in (SIDE, 1))
five, five_alone, five_apart, five_apart_alone = (_positions(5, s, n) for s in (1, 2) for n in (SIDE, 1))
