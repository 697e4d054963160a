"""Measure the object store: python -m benchmarks.store. A table, JSON, and a chart under benchmarks/results.

Objects are put by this process and got by another one, side by side with

- a plain copy of the same bytes into memory that was touched before,
- pickle protocol 5 with out-of-band buffers, laid by hand into multiprocessing.shared_memory (kept and written again, or made anew),
- Ray's ray.put and ray.get, where Ray is installed and --ray is given.

All take turns, round by round; what is told is the fastest round, and the middle one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import statistics
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

# Behind the installed packages, so that an installed fastser is measured and not an unbuilt source tree around it.
sys.path.append(sys.path.pop(0))

import numpy as np

import fastser
from benchmarks import report

RESULTS = Path(__file__).resolve().parent / "results"
SMALL = {"a": 1, "b": "x"}


# --- by hand -----------------------------------------------------------------------------------------------------------


class ByHand:
    """Pickle 5 out of band in one segment: its length, the pickle, the lengths of the buffers, and the buffers at multiples of 64."""

    def __init__(self) -> None:
        self.segment: SharedMemory | None = None

    def put(self, obj: object) -> str:
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(obj, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        index = pickle.dumps((head, [view.nbytes for view in views]))
        size = 8 + len(index) + 64 + sum(-(-view.nbytes // 64) * 64 for view in views)
        if self.segment is None or self.segment.size < size:
            self.free()
            self.segment = SharedMemory(create=True, size=size)
        memory = self.segment.buf
        memory[:8] = len(index).to_bytes(8, "little")
        memory[8 : 8 + len(index)] = index
        position = -(-(8 + len(index)) // 64) * 64
        for view in views:
            memory[position : position + view.nbytes] = view
            position += -(-view.nbytes // 64) * 64
        return self.segment.name

    def free(self) -> None:
        if self.segment is not None:
            self.segment.close()
            self.segment.unlink()
            self.segment = None


def get_by_hand(name: str) -> tuple[SharedMemory, object]:
    """The segment cannot be closed while there are views of it: a tuple lets go of what comes last first."""
    segment = SharedMemory(name)
    memory = segment.buf.toreadonly()
    length = int.from_bytes(memory[:8], "little")
    head, sizes = pickle.loads(memory[8 : 8 + length])
    position = -(-(8 + length) // 64) * 64
    buffers = []
    for size in sizes:
        buffers.append(memory[position : position + size])
        position += -(-size // 64) * 64
    return segment, pickle.loads(head, buffers=buffers)


# --- the other process -------------------------------------------------------------------------------------------------


def pss() -> int:
    """The memory of this process, its share of what it shares included."""
    with open("/proc/self/smaps_rollup") as rollup:
        return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))


def serve(name: str, pipe) -> None:
    """Get what is asked for; answer the seconds that it took, and how much memory."""
    store = fastser.ObjectStore.attach(name)
    gets = {"fastser": store.get, "by hand": get_by_hand}
    while (asked := pipe.recv()) is not None:
        way, what, times = asked
        get = gets[way]
        before = pss()
        start = time.perf_counter()
        for _ in range(times):
            obj = get(what)
        seconds = (time.perf_counter() - start) / times
        grown = pss() - before
        obj = None  # noqa: F841 - lets go of what was loaded
        pipe.send((seconds, grown))


# --- measuring ---------------------------------------------------------------------------------------------------------


class Figures:
    """Seconds by row and contestant."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[float]]] = {}

    def add(self, row: str, contestant: str, seconds: float) -> None:
        self.rows.setdefault(row, {}).setdefault(contestant, []).append(seconds)

    def time(self, row: str, contestant: str, action, *arguments):
        start = time.perf_counter()
        result = action(*arguments)
        self.add(row, contestant, time.perf_counter() - start)
        return result


def measure(megabytes: int, rounds: int) -> tuple[Figures, dict[str, int]]:
    figures = Figures()
    grown: dict[str, int] = {}
    chance = np.random.default_rng(1)
    big = [chance.random(megabytes * 125) for _ in range(1000)]
    array = chance.random(500_000)
    touched = np.ones(sum(part.size for part in big))
    context = multiprocessing.get_context("spawn")
    with fastser.ObjectStore.create(capacity=4 * megabytes * 1_000_000) as store:
        pipe, end = context.Pipe()
        other = context.Process(target=serve, args=(store.name, end))
        other.start()

        def ask(row: str, way: str, what: object, times: int = 1) -> None:
            pipe.send((way, what, times))
            seconds, memory = pipe.recv()
            figures.add(row, way, seconds)
            if row.startswith("get 1,000"):
                grown[way] = max(grown.get(way, 0), memory)

        # Memory that nobody touched yet.
        hand = ByHand()
        for _ in range(min(rounds, 3)):
            hand.free()
            figures.time("put 1,000 arrays, fresh memory", "by hand", hand.put, big)
            hand.free()
            ref = figures.time("put 1,000 arrays, fresh memory", "fastser", store.put, big)
            store.delete(ref)
            with store._account:
                store._segments._reclaim(1 << 62)
        store.delete(store.put(big))
        store.delete(store.put(big))  # by a mapping, which is kept
        hand.put(big)
        for _ in range(rounds):
            name = figures.time("put 1,000 arrays, touched memory", "by hand", hand.put, big)
            ask("get 1,000 arrays", "by hand", name)
            ref = figures.time("put 1,000 arrays, touched memory", "fastser", store.put, big)
            ask("get 1,000 arrays", "fastser", ref)
            store.delete(ref)
            figures.time("put 1,000 arrays, touched memory", "plain copy", copy, big, touched)
        hand.free()

        ref, name = store.put(array), hand.put(array)
        small = store.put(SMALL)
        for _ in range(5 * rounds):
            ask("get an array of 4 MB", "by hand", name, 20)
            ask("get an array of 4 MB", "fastser", ref, 20)
            ask("get a small dict", "fastser", small, 200)
            start = time.perf_counter()
            refs = [store.put(SMALL) for _ in range(200)]
            figures.add("put a small dict", "fastser", (time.perf_counter() - start) / 200)
            start = time.perf_counter()
            for ref_of_small in refs:
                store.delete(ref_of_small)
            figures.add("delete a small dict", "fastser", (time.perf_counter() - start) / 200)
            hands = [ByHand() for _ in range(50)]
            start = time.perf_counter()
            for small_hand in hands:
                get_by_hand(small_hand.put(SMALL))
            figures.add("put and get a small dict", "by hand", (time.perf_counter() - start) / 50)
            for small_hand in hands:
                small_hand.free()
            start = time.perf_counter()
            refs = []
            for _ in range(200):
                refs.append(store.put(SMALL))
                store.get(refs[-1])
            figures.add("put and get a small dict", "fastser", (time.perf_counter() - start) / 200)
            for ref_of_small in refs:
                store.delete(ref_of_small)
        hand.free()
        pipe.send(None)
        other.join()
    return figures, grown


def copy(arrays, out: np.ndarray) -> None:
    position = 0
    for part in arrays:
        np.copyto(out[position : position + part.size], part)
        position += part.size


def measure_ray(figures: Figures, megabytes: int, rounds: int) -> None:
    import ray

    ray.init(num_cpus=1, object_store_memory=3 * megabytes * 1_000_000, include_dashboard=False, log_to_driver=False)

    @ray.remote
    class Reader:
        def get(self, boxed, times):
            start = time.perf_counter()
            for _ in range(times):
                ray.get(boxed[0])
            return (time.perf_counter() - start) / times

    chance = np.random.default_rng(1)
    big = [chance.random(megabytes * 125) for _ in range(1000)]
    reader = Reader.remote()
    ray.get(reader.get.remote([ray.put(1)], 1))
    for i in range(rounds):
        # Ray gives memory back to itself, and does not tell when: later rounds are into memory that it touched before.
        row = "put 1,000 arrays, touched memory" if i else "put 1,000 arrays, fresh memory"
        ref = figures.time(row, "Ray", ray.put, big)
        figures.add("get 1,000 arrays", "Ray", ray.get(reader.get.remote([ref], 1)))
        del ref
        time.sleep(0.2)
    ref, small = ray.put(chance.random(500_000)), ray.put(SMALL)
    for _ in range(5 * rounds):
        figures.add("get an array of 4 MB", "Ray", ray.get(reader.get.remote([ref], 20)))
        figures.add("get a small dict", "Ray", ray.get(reader.get.remote([small], 50)))
        start = time.perf_counter()
        for _ in range(50):
            ray.put(SMALL)
        figures.add("put a small dict", "Ray", (time.perf_counter() - start) / 50)
        start = time.perf_counter()
        for _ in range(50):
            ray.get(ray.put(SMALL))
        figures.add("put and get a small dict", "Ray", (time.perf_counter() - start) / 50)
    ray.shutdown()


# --- telling -----------------------------------------------------------------------------------------------------------

CONTESTANTS = ["fastser", "by hand", "Ray", "plain copy"]


def unit(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:,.1f} µs"


def table(data: dict) -> str:
    lines = ["| fastest (middle) | " + " | ".join(CONTESTANTS) + " |", "| --- |" + " --- |" * len(CONTESTANTS)]
    for row, contestants in data["rows"].items():
        cells = []
        for name in CONTESTANTS:
            found = contestants.get(name)
            ratio = f", {found['min'] / contestants['fastser']['min']:.2f}x" if found and name != "fastser" else ""
            cells.append(f"{unit(found['min'])} ({unit(found['median'])}){ratio}" if found else "")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    grown = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in data["grown"].items())
    return "\n".join([*lines, "", f"Memory of the process that gets 1,000 arrays grows by (Pss): {grown}"])


def draw(data: dict, path: Path) -> None:
    """Bars: how long each takes, on a log scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colors = dict(zip(CONTESTANTS, ["#2a7f9e", "#c8402f", "#8a6fb0", "#999999"]))
    figure, axis = plt.subplots(figsize=(11, 0.9 + 0.95 * len(data["rows"])), layout="constrained")
    place, places = 0.0, []
    for contestants in data["rows"].values():
        present = [name for name in CONTESTANTS if name in contestants]
        places.append(place + (len(present) - 1) / 2)
        for name in present:
            seconds = contestants[name]["min"]
            axis.barh(place, seconds, height=0.8, color=colors[name])
            axis.annotate(unit(seconds), (seconds, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
            place += 1
        place += 0.8
    axis.set_xscale("log")
    axis.set_xlim(1e-6, 20)
    axis.set_xticks([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1], ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"])
    axis.set_yticks(places, data["rows"])
    axis.invert_yaxis()
    axis.grid(axis="x", color="#dddddd", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    present = [name for name in CONTESTANTS if any(name in row for row in data["rows"].values())]
    axis.legend([plt.Rectangle((0, 0), 1, 1, color=colors[name]) for name in present], present, loc="lower right", frameon=False)
    host = data["machine"]
    axis.set_title(
        f"Objects through shared memory: {data['settings']['megabytes']} MB in 1,000 arrays, and small ones (log scale; shorter is better)\n"
        f"{host['processor']}, {host['cores']} cores; Python {data['versions']['python']}",
        fontsize=11,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__.split("\n\n")[0])
    parser.add_argument("--megabytes", type=int, default=800, help="in 1,000 arrays (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--ray", action="store_true", help="measure Ray too (pip install ray)")
    parser.add_argument("--name", default="store", help="of the files under benchmarks/results (default: %(default)s)")
    options = parser.parse_args(argv)
    figures, grown = measure(options.megabytes, options.rounds)
    if options.ray:
        measure_ray(figures, options.megabytes, options.rounds)
    data = {
        "machine": report.machine(),
        "versions": report.versions(["numpy", "fastser", "ray"]),
        "settings": {"megabytes": options.megabytes, "rounds": options.rounds},
        "rows": {
            row: {name: {"min": min(times), "median": statistics.median(times)} for name, times in contestants.items()}
            for row, contestants in figures.rows.items()
        },
        "grown": grown,
    }
    print(table(data))
    path = RESULTS / f"{options.name}.json"
    report.save(data, path)
    try:
        draw(data, path.with_suffix(".png"))
    except ModuleNotFoundError as error:
        print(f"no chart: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
