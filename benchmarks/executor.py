"""Measure fastser.Executor against the standard library's ProcessPoolExecutor: ``python -m benchmarks.executor``.

Both run the same tasks in two processes, in turns, from submit to the last result; pools are started before the clock.
"""

from __future__ import annotations

import argparse
import calendar
import multiprocessing
import sys
from concurrent.futures import Executor as AnyExecutor
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from time import perf_counter

# Behind the installed packages, so that an installed fastser is measured and not an unbuilt source tree around it.
sys.path.append(sys.path.pop(0))

import fastser
import numpy as np

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


def contests(nbytes: int):
    """(title, unit, how many units, way, function, calls, rounds)"""
    array = np.random.default_rng(1).random(nbytes // 8)
    megabytes = nbytes // 10**6
    shared = [(array, i) for i in range(TASKS)]
    yield f"{TASKS} tasks on one {megabytes} MB array, a block each", "ms", 1e3, at_once, block, shared, 5
    yield f"{TASKS} tasks on one {megabytes} MB array, all of it each", "ms", 1e3, at_once, whole, shared, 5
    yield f"{TASKS} results of {megabytes // 8} MB", "ms", 1e3, at_once, ones, [(nbytes // 64,)] * TASKS, 5
    years = [(year,) for year in range(1000)]
    yield "1000 tiny tasks at once, of a module's function", "µs a task", 1e3, at_once, calendar.isleap, years, 25
    yield "1000 tiny tasks one by one, of a module's function", "µs a task", 1e3, one_by_one, calendar.isleap, years, 15
    yield "1000 tiny tasks at once, of a function of __main__", "µs a task", 1e3, at_once, leap, years, 25
    yield "1000 tiny tasks one by one, of a function of __main__", "µs a task", 1e3, one_by_one, leap, years, 15


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.executor", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="of the shared array (default: %(default)s)")
    parser.add_argument("--context", default="fork", choices=multiprocessing.get_all_start_methods())
    options = parser.parse_args(argv)
    context = multiprocessing.get_context(options.context)
    print(f"| two processes ({options.context}) | pickle | fastser | ratio |\n| --- | --- | --- | --- |")
    for title, unit, scale, way, fn, calls, rounds in contests(options.megabytes * 10**6):
        with ProcessPoolExecutor(2, context) as pickling, fastser.Executor(2, context) as sharing:
            times: dict[AnyExecutor, list[float]] = {pickling: [], sharing: []}
            for executor in times:
                one_by_one(executor, pow, [(2, i) for i in range(50)])
            for i in range(rounds):
                answers = []
                for executor in list(times)[:: 1 if i % 2 else -1]:
                    begun = perf_counter()
                    answers.append(way(executor, fn, calls))
                    times[executor].append(perf_counter() - begun)
                assert all(np.array_equal(one, other) for one, other in zip(*answers, strict=True))
                del answers
        one, other = (median(times[executor]) for executor in (pickling, sharing))
        print(f"| {title}, {unit} | {one * scale:.1f} | {other * scale:.1f} | {other / one:.2f} ({one / other:.1f}x) |", flush=True)


if __name__ == "__main__":
    main()
