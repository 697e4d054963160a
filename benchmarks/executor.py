"""Measure fastser.Executor against the standard library's ProcessPoolExecutor: ``python -m benchmarks.executor``.

Both run the same tasks in two processes, in turns, from submit to the last result; pools are started before the clock.
"""

from __future__ import annotations

import argparse
import calendar
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor as AnyExecutor
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from time import perf_counter
from typing import NamedTuple

# Behind the installed packages, so that an installed fastser is measured and not an unbuilt source tree around it.
sys.path.append(sys.path.pop(0))

import numpy as np

import fastser

TASKS = 8


def block(array: np.ndarray, i: int) -> float:
    """The sum of the i-th of eight blocks."""
    return float(np.split(array, TASKS)[i].sum())


def whole(array: np.ndarray, i: int) -> float:
    return float(array.sum()) + i


def leap(year: int) -> bool:
    return calendar.isleap(year)


def ones(size: int) -> np.ndarray:
    return np.ones(size)


def at_once(executor: AnyExecutor, fn, calls) -> list:
    futures = [executor.submit(fn, *call) for call in calls]
    return [future.result() for future in futures]


def one_by_one(executor: AnyExecutor, fn, calls) -> list:
    return [executor.submit(fn, *call).result() for call in calls]


class Contest(NamedTuple):
    title: str
    way: Callable
    fn: Callable
    calls: list[tuple]
    rounds: int

    @property
    def is_tiny(self) -> bool:
        return len(self.calls) > TASKS


def contests(nbytes: int, rounds: int) -> Iterator[Contest]:
    array = np.random.default_rng(1).random(nbytes // 8)
    megabytes = nbytes // 10**6
    shared = [(array, i) for i in range(TASKS)]
    yield Contest(f"{TASKS} tasks on one {megabytes} MB array, a block each", at_once, block, shared, rounds)
    yield Contest(f"{TASKS} tasks on one {megabytes} MB array, all of it each", at_once, whole, shared, rounds)
    yield Contest(f"{TASKS} results of {megabytes // 8} MB", at_once, ones, [(nbytes // 64,)] * TASKS, rounds)
    years = [(year,) for year in range(200)]
    for kind, fn in {"of a module's function": calendar.isleap, "of a function of `__main__`": leap}.items():
        yield Contest(f"tiny tasks {kind}, submitted together", at_once, fn, years, 10 * rounds)
        yield Contest(f"tiny tasks {kind}, one after the other", one_by_one, fn, years, 10 * rounds)


def measure(contest: Contest, context) -> tuple[list[float], list[float]]:
    """The seconds of each round: with pickle, with fastser."""
    with ProcessPoolExecutor(2, context) as pickling, fastser.Executor(2, context) as sharing:
        times: dict[AnyExecutor, list[float]] = {pickling: [], sharing: []}
        for executor in times:
            one_by_one(executor, pow, [(2, i) for i in range(50)])
        for i in range(contest.rounds):
            answers = []
            for executor in list(times)[:: 1 if i % 2 else -1]:
                begun = perf_counter()
                answers.append(contest.way(executor, contest.fn, contest.calls))
                times[executor].append(perf_counter() - begun)
            assert all(np.array_equal(one, other) for one, other in zip(*answers, strict=True))
        return times[pickling], times[sharing]


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executor", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="of the shared array (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of large tasks; ten times as many of tiny ones (default: %(default)s)")
    parser.add_argument("--context", default="fork", choices=multiprocessing.get_all_start_methods())
    options = parser.parse_args(argv)
    context = multiprocessing.get_context(options.context)
    print(f"| two processes ({options.context}), best (median) | pickle | fastser | ratio of the best |\n| --- | --- | --- | --- |")
    for contest in contests(options.megabytes * 10**6, options.rounds):
        scale, unit = (1e6 / len(contest.calls), "µs a task") if contest.is_tiny else (1e3, "ms")
        one, other = ([scale * seconds for seconds in times] for times in measure(contest, context))
        ratio = f"{min(other) / min(one):.2f}" if contest.is_tiny else f"{min(one) / min(other):.1f}x faster"
        cells = (f"{min(times):.0f} ({median(times):.0f}) {unit}" for times in (one, other))
        print(f"| {contest.title} | {' | '.join(cells)} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
