"""What the image towers cost, by each of their two ways, beside what no way could save: their multiplications.

A guide's floor is the time of its multiply-adds, forward and backward, at the rate of a large matrix product in the
same run. Ratios are medians of the ratios within a repeat, in which everything runs in turn.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dreamfields.guidance.cpu import fused
from dreamfields.guidance.lit.frozen import LockedNetwork
from dreamfields.guidance.lit.towers import Tower
from dreamfields.guidance.lit.weights import GUIDING_TOWERS

SIDE = 1024
"""Rows and columns of the matrices of the product."""
REPEATS = 7


@dataclass(frozen=True)
class TowerTime:
    """Median seconds of one tower for images of one size, forward and backward."""

    tower: str
    pixels: int
    threads: int
    by_torch: float
    compiled: float
    speedup: float  # Median of the ratios
    times_floor: float  # Seconds compiled over those of the multiply-adds, median of the ratios


def multiply_adds(network: LockedNetwork, pixels: int) -> int:
    """Return the multiply-adds of one image of `pixels` a side, forward and backward."""
    side, total = pixels, 0
    for stage in network.stages:
        for layer in stage.convolutions:
            side = -(-side // layer.stride)
            total += side**2 * layer.weight.numel()
    return 2 * total


def time_towers(images: int, sizes: Sequence[int], threads: Sequence[int]) -> list[TowerTime]:
    """Return the times of both towers that guide; sets the number of threads of torch."""
    found = []
    towers = [Tower(source) for source in GUIDING_TOWERS]
    for count in threads:
        torch.set_num_threads(count)
        found += [_time(tower, images, pixels, count) for tower in towers for pixels in sizes]
    return found


def _time(tower: Tower, images: int, pixels: int, threads: int) -> TowerTime:
    shown, square = torch.rand(images, 3, pixels, pixels), torch.rand(SIDE, SIDE)
    network, work = tower.network, images * multiply_adds(tower.network, pixels)
    ways: list[Callable[[], object]] = [
        lambda: _both_ways(network.level_means, shown),
        lambda: _both_ways(lambda pictures: fused.level_means(network, pictures), shown),
        lambda: square @ square,
    ]
    for way in ways:
        way()
    rounds = [[_seconds(way) for way in ways] for _ in range(REPEATS)]
    by_torch, compiled, _ = (statistics.median(column) for column in zip(*rounds, strict=True))
    floors = [product / SIDE**3 * work for *_, product in rounds]
    return TowerTime(
        tower=tower.source.name,
        pixels=pixels,
        threads=threads,
        by_torch=by_torch,
        compiled=compiled,
        speedup=statistics.median(slow / fast for slow, fast, _ in rounds),
        times_floor=statistics.median(fast / floor for (_, fast, _), floor in zip(rounds, floors, strict=True)),
    )


def _both_ways(means: Callable[[Tensor], Tensor], images: Tensor) -> None:
    asked = images.detach().requires_grad_()
    means(asked).sum().backward()  # type: ignore[no-untyped-call]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(times: Sequence[TowerTime]) -> list[str]:
    """Return the times as lines of Markdown, after the mean over all sizes for each number of threads."""
    lines = []
    for threads in sorted({one.threads for one in times}):
        own = [one for one in times if one.threads == threads]
        slow, fast = (statistics.mean(getattr(one, name) for one in own) for name in ("by_torch", "compiled"))
        speedup, floor = (statistics.mean(getattr(one, name) for one in own) for name in ("speedup", "times_floor"))
        lines.append(
            f"Threads: {threads}. Mean of all rows: {1e3 * slow:.0f} ms by torch, {1e3 * fast:.0f} compiled, ratio "
            f"{speedup:.2f}; {floor:.2f} times the multiply-adds at the rate of a matrix product."
        )
    lines += ["", "| tower, pixels | threads | torch, ms | compiled, ms | ratio | times the multiply-adds |"]
    lines.append("|---|---|---|---|---|---|")
    lines += [
        f"| {one.tower}, {one.pixels} | {one.threads} | {1e3 * one.by_torch:.0f} | {1e3 * one.compiled:.0f} | "
        f"{one.speedup:.2f} | {one.times_floor:.2f} |"
        for one in times
    ]
    return lines
