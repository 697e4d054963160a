"""Timing: interleaved rounds, calibrated loops, minimum and median, with correctness and size beside each time.

Where nobody's call is shorter than 20 µs, each is timed alone and its result outlives the clock: freeing is not measured, and
the memory of the result before is warm for everybody. Otherwise all are timed in loops of about a millisecond. Who goes first alternates from
round to round, so that nobody always finds the memory that another has just freed, and frames are
loaded from ever new addresses: how two addresses lie to each other can triple the time of a copy. Each row has a process of its own: what one row
did to the allocator is no other row's luck. The garbage collector is off; every fourth round is taken with it on as well.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from itertools import repeat
from random import randrange
from statistics import median
from time import perf_counter, perf_counter_ns

from .data import ROWS, Row
from .peers import Contestant, contestants
from .walk import size_limit, text_memory, walk

ALONE_NS = 20_000
LOOP_NS = 1_000_000
LEAST_ROUNDS = 5
COLLECTOR_EVERY = 4
MOVED_BELOW = 128 << 10  # moving larger ones makes the allocator hand pages back to the system, at random

SOURCE = """
def once({argument}):
    start = clock()
    result = {expression}
    return clock() - start, result

def loop({argument}, times):
    start = clock()
    for _ in repeat(None, times):
        {expression}
    return clock() - start
"""


class Timer:
    """Times one operation of one contestant.

    Parameters
    ----------
    contestant : Contestant
    operation : str
        ``dumps`` or ``loads``.
    argument : object
        What to try it with.
    """

    def __init__(self, contestant: Contestant, operation: str, argument: object):
        scope = {**contestant.scope, "clock": perf_counter_ns, "repeat": repeat}
        name, expression = ("value", contestant.dumps) if operation == "dumps" else ("frame", contestant.loads)
        exec(SOURCE.format(argument=name, expression=expression), scope)
        self.once, self.loop, self.last = scope["once"], scope["loop"], None
        self.samples: dict[str, list[float]] = {"off": [], "on": []}
        self.quickest = min(self.once(argument)[0] for _ in range(3))
        if self.quickest < ALONE_NS:
            self.quickest = self.loop(argument, 20) / 20
        self.loops = 0

    def use_loops(self) -> None:
        """Take samples of about a millisecond, and free results on the clock."""
        self.loops = max(1, round(LOOP_NS / self.quickest))

    def sample(self, argument: object, collector: str) -> None:
        """Take one sample, in nanoseconds per call."""
        if collector == "on":
            gc.collect()
            gc.enable()
        if self.loops:
            elapsed = self.loop(argument, self.loops) / self.loops
        else:
            elapsed, self.last = self.once(argument)
        gc.disable()
        self.samples[collector].append(elapsed)

    def summary(self) -> dict:
        """Microseconds per call, with the collector off and on."""
        return {
            collector: {"min": min(samples) / 1000, "median": median(samples) / 1000, "samples": len(samples)}
            for collector, samples in self.samples.items()
        }


def check(row: Row, value: object, contestant: Contestant) -> tuple[dict, object]:
    """Whether the contestant is faithful to the row's data, in how many bytes; and its frame, or None where it cannot."""
    before = text_memory(value) if row.renew else 0
    try:
        frame = contestant.pack(value)
        text_kept = text_memory(value) - before if row.renew else 0
        faithful = row.same(value, contestant.unpack(frame))
    except Exception as error:  # whatever a peer raises on what it cannot carry is a result
        return {"error": f"{type(error).__name__}: {error}"[:200], "faithful": False}, None
    return {"error": None, "faithful": faithful, "bytes": len(frame), "text_kept": text_kept}, frame


def measure(row: Row, contestants: list[Contestant], seconds: float, rounds: int | None = None, n: int | None = None) -> dict:
    """Measure one row.

    Parameters
    ----------
    row : Row
    contestants : list of Contestant
        The row's control among them.
    seconds : float
        How long it may take; at least five rounds are taken all the same.
    rounds : int, optional
        Take exactly so many rounds instead.
    n : int, optional
        The size of the data, where it is not the row's own.

    Returns
    -------
    dict
        The row's entry in the results, JSON as it stands.
    """
    started = perf_counter()
    gc.disable()
    try:
        return _measure(row, contestants, started + seconds, rounds, n or row.n)
    finally:
        gc.enable()


def _measure(row: Row, contestants: list[Contestant], end: float, rounds: int | None, n: int) -> dict:
    value = row.make(n)
    elsewhere = list(walk(value)) if row.held else None
    found, frames = {}, {}
    for contestant in contestants:
        found[contestant.name], frame = check(row, row.make(n) if row.renew else value, contestant)
        if frame is not None:
            frames[contestant.name] = frame
    frames = {name: bytes(memoryview(frame)) for name, frame in frames.items()}  # the first was made under other conditions
    able = [contestant for contestant in contestants if contestant.name in frames]

    gc.collect()
    for i, operation in enumerate(("dumps", "loads")):
        renew = row.renew and operation == "dumps"

        def argument(name):
            if operation == "loads":
                frame = frames[name]
                jitter = bytes(randrange(600, 9_000))  # noqa: F841  (moves the copy)
                return frame if len(frame) > MOVED_BELOW else bytes(memoryview(frame))
            return row.make(n) if renew else value

        timers = {c.name: Timer(c, operation, argument(c.name)) for c in able}
        if not renew and min(timer.quickest for timer in timers.values()) < ALONE_NS:
            for timer in timers.values():
                timer.use_loops()
        taken = 0
        until = perf_counter() + (end - perf_counter()) / (2 - i)
        while taken < rounds if rounds else taken < LEAST_ROUNDS or perf_counter() < until:
            for collector in ("off", "on") if taken % COLLECTOR_EVERY == 0 else ("off",):
                for name, timer in list(timers.items())[:: 1 if taken % 2 else -1]:
                    timer.sample(argument(name), collector)
            taken += 1
        for name, timer in timers.items():
            found[name][operation] = timer.summary()
    del elsewhere
    controlled = found[row.control]["bytes"]
    return {
        "name": row.name,
        "title": row.title,
        "group": row.group,
        "n": n,
        "held": row.held,
        "renewed": row.renew,
        "control": row.control,
        "floor": {"dumps": row.floor[0], "loads": row.floor[1], "loads_within_us": row.loads_within},
        "size_limit": controlled if row.no_larger else size_limit(value, controlled),
        "contestants": found,
    }


def _worker(sender, name: str, track_refs: bool, peers: list[str] | None, seconds: float, rounds: int | None) -> None:
    row = next(row for row in ROWS if row.name == name)
    sender.send(measure(row, contestants(track_refs, peers, row.control), seconds, rounds))


def measure_apart(row: Row, *options) -> dict | None:
    """`measure` in a fresh process; None where that process died."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_worker, args=(sender, row.name, *options))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()
        if process.exitcode:
            print(f"{row.name}: the process ended with {process.exitcode}", file=sys.stderr)


def run(
    rows: Iterable[Row],
    seconds: float,
    track_refs: bool = True,
    peers: list[str] | None = None,
    rounds: int | None = None,
    progress: Callable[[int, int, Row | None, float], None] = lambda *state: None,
) -> list[dict]:
    """Measure rows, sharing `seconds` among them; ``progress(done, all, row, seconds left)`` is called before each."""
    rows = list(rows)
    end = perf_counter() + seconds
    measured = []
    for done, row in enumerate(rows):
        left = max(0.0, end - perf_counter())
        progress(done, len(rows), row, left)
        measured.append(measure_apart(row, track_refs, peers, left / (len(rows) - done), rounds))
    progress(len(rows), len(rows), None, 0.0)
    return [row for row in measured if row]
