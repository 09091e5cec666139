"""Threads for loops: every part once, by either way, and no error is lost."""

import sys
from collections.abc import Callable, Iterator

import pytest

from dreamfields.cpu import threads
from dreamfields.cpu.threads import Work, in_plain_threads, in_threads, share

WAYS = [in_threads, in_plain_threads]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_every_part_is_done_once(way: Callable[[Work, int], None], parts: int) -> None:
    done: list[tuple[int, int]] = []
    for _ in range(20):
        way(lambda part, count: done.append((part, count)), parts)
    assert sorted(done) == sorted([(part, parts) for part in range(parts)] * 20)


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns as often as they can, so that what may come between two instructions does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("way", WAYS)
def test_no_part_is_asked_for_that_there_is_not(way: Callable[[Work, int], None], hasty: None) -> None:
    for _ in range(1000):
        way(lambda part, count: None, 4)


def test_one_part_is_done_where_it_is_asked_for() -> None:
    done: list[tuple[int, int]] = []
    in_threads(lambda part, count: done.append((part, count)), 1)
    assert done == [(0, 1)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_any_part_is_raised(way: Callable[[Work, int], None], failing: int) -> None:
    def work(part: int, _: int) -> None:
        if part == failing:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {failing}"):
        way(work, 2)


def test_without_torch_s_openmp_plain_threads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    done: list[int] = []
    in_threads(lambda part, _: done.append(part), 3)
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize(("count", "parts"), [(6, 2), (5, 3), (2, 4), (0, 2)])
def test_shares_are_equal_but_for_one_and_together_all(count: int, parts: int) -> None:
    shares = [range(count)[share(count, part, parts)] for part in range(parts)]
    assert [index for own in shares for index in own] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
