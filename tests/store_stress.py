"""Eight writers and eight readers at one store for some seconds, half of them forked and half of them spawned. Run by test_store_crash.py.

    python tests/store_stress.py SECONDS

Each object can be made again from a number, which travels with its reference, so that every object is compared, and again later
while it is held.
"""

import json
import multiprocessing
import queue
import random
import sys
import time

import numpy as np

import fastser

WRITERS = READERS = 8
HELD = 4  # objects that a reader views at any time, deleted ones among them


def make(number):
    chance = random.Random(number)
    kind = number % 5
    if kind == 0:
        return {"number": number, "text": "x" * chance.randrange(100)}
    if kind == 1:
        return np.full(chance.choice([10_000, 10_000, 12_000]), number)
    if kind == 2:
        return [np.full(chance.randrange(1, 3000), number + i, "float32") for i in range(40)]
    if kind == 3:
        return {"matrix": np.arange(number, number + 65_536).reshape(256, 256), "rows": [(i, str(i)) for i in range(50)]}
    return [{"id": i, "value": i / 7} for i in range(chance.randrange(2000))]


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b


def write(store, seed, until, references):
    number = seed * 1_000_000
    while time.time() < until:
        number += 1
        if number % 50 == 0:
            with store.create_array(20_000, int) as array:
                references.put((array.ref, -number))  # others wait for it
                array[:] = number
        else:
            references.put((store.put(make(number)), number))


def read(store, seed, ended, references, counts):
    chance = random.Random(seed)
    held = []
    compared = 0
    while True:
        try:
            ref, number = references.get(timeout=0.5)
        except queue.Empty:
            if ended.is_set():
                break
            continue
        expected = make(number) if number > 0 else np.full(20_000, -number)
        obj = store.get(ref, mode=chance.choice("rc"))
        assert same(obj, expected), number
        store.delete(ref)
        held.append((obj, number, expected))
        if len(held) > HELD:
            obj, number, expected = held.pop(chance.randrange(HELD))
            assert same(obj, expected), f"{number} changed while it was viewed"
        compared += 1
    counts.put(compared)


def start(context, target, *arguments):
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def main(seconds):
    fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
    with fastser.ObjectStore.create(capacity="1GiB") as store:
        references, counts, ended = spawn.Queue(32), spawn.Queue(), spawn.Event()
        readers = [start(spawn if i % 2 else fork, read, store, i, ended, references, counts) for i in range(READERS)]
        until = time.time() + seconds
        writers = [start(spawn if i % 2 else fork, write, store, i + 1, until, references) for i in range(WRITERS)]
        for process in writers:
            process.join()
        ended.set()
        compared = sum(counts.get(timeout=60) for _ in readers)
        for process in readers:
            process.join()
        stats = store.stats()
        with store._account as account:
            account.count()
            counted = account.used, account.free
    print(json.dumps({
        "compared": compared,
        "failed": sum(process.exitcode != 0 for process in readers + writers),
        "left": len(stats.objects) + len(stats.being_put) + len(stats.pinned),
        "account is exact": counted == (stats.used, stats.free),
    }))  # fmt: skip


if __name__ == "__main__":
    main(float(sys.argv[1]))
