"""What the tests of the store run in other processes."""

import os
import sys

import fastser
import numpy as np


class Point:
    def __init__(self, x):
        self.x = x


def add(name, ref, number, results):
    """Get an array by an attached store, and put the sum."""
    with fastser.ObjectStore.attach(name) as store:
        array = store.get(ref)
        results.put((store.put(array + number), array.flags.writeable, os.getpid()))


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
