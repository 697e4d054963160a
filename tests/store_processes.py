"""What the tests of the store run in other processes."""

import os
import sys

import numpy as np

import fastser


class Point:
    def __init__(self, x):
        self.x = x


class Model:
    """Made by a call, so that it may write to its arrays."""

    def __init__(self, weights, counts):
        self.weights, self.counts = weights, counts

    def __reduce__(self):
        return Model, (self.weights, self.counts)


def smaps(array):
    """In bytes, what the system tells of the pages of the mapping that an array lies in."""
    address = array.__array_interface__["data"][0]
    found = {}
    inside = False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            name, *rest = line.split()
            if "-" in name:
                start, end = (int(text, 16) for text in name.split("-"))
                inside = start <= address < end
            elif inside and rest[-1] == "kB":
                found[name[:-1]] = int(rest[0]) << 10
    return found


def read_all(name, ref, results, go):
    """View an object, and tell of its pages while somebody else views it too."""
    with fastser.ObjectStore.attach(name) as store:
        (array,) = store.get(ref)
        array.sum()
        results.put(smaps(array))
        go.wait()


def add(name, ref, number, results):
    """Get an array by an attached store, and put the sum."""
    with fastser.ObjectStore.attach(name) as store:
        array = store.get(ref)
        results.put((store.put(array + number), array.flags.writeable, os.getpid()))


def add_first(name, ref, number, results):
    with fastser.ObjectStore.attach(name) as store:
        results.put(store.put(store.get(ref)[0] + number))


def use(store, ref, results):
    """A store that was pickled."""
    results.put((store.get(ref), store.id))
    store.close()


def put_key(name, value, start, results):
    with fastser.ObjectStore.attach(name) as store:
        start.wait()
        try:
            store.put(np.full(10_000, value), key="contested")
            results.put(value)
        except fastser.ObjectExistsError:
            results.put(None)


def hold(name, ref, ready, go):
    """View an object until told to go; the exit code tells whether it changed."""
    with fastser.ObjectStore.attach(name) as store:
        view = store.get(ref)
        before = view.copy()
        ready.set()
        go.wait()
        sys.exit(0 if np.array_equal(view, before) else 1)


def build_and_stall(name, refs, go):
    store = fastser.ObjectStore.attach(name)
    with store.create_array(50_000, int) as array:
        refs.put(array.ref)
        array[:] = 5
        go.wait()


def own_and_die(name):
    store = fastser.ObjectStore.create(name)
    store.put(np.arange(50_000), key="data")
    store.put({"a": 1}, key="small")
    os.kill(os.getpid(), 9)


def own_and_end(name):
    store = fastser.ObjectStore.create(name)
    store.put(np.arange(50_000))
