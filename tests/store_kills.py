"""Kills processes at every step of what they do to a store, and looks at what is left. Run by test_store_crash.py.

A step is a call of a C function by a module of fastser.store: all that reaches the system is one. A forked child is killed before its
first step, the next child before its second one, and so on until one comes to its end.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fastser
import fastser.store.building
from fastser.store import directory as directories

STORE_FOLDER = str(Path(fastser.store.__file__).parent)
SMALL = {"a": 1, "b": "text"}
LARGE = {"x": np.arange(20_000), "y": "text"}
LARGER = np.arange(5_000_000)


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def kill_before_step(number):
    steps = 0

    def count(frame, event, argument):
        nonlocal steps
        if event == "c_call" and frame.f_code.co_filename.startswith(STORE_FOLDER):
            steps += 1
            if steps > number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def fork(action, *arguments):
    """Run an action in a child; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        action(*arguments)
        sys.setprofile(None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def wait(pid):
    """Whether the child was killed, rather than came to its end."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status == -signal.SIGKILL


def kill_at_each_step(action, check):
    number = 0
    while True:
        def act():
            kill_before_step(number)
            action()

        if not wait(fork(act)):
            check()
            return number
        check()
        number += 1


# --- what must hold afterwards -----------------------------------------------------------------------------------------


class Watch:
    """A store with objects that nobody deletes."""

    def __init__(self, **options):
        self.store = fastser.ObjectStore.create(f"kills-{os.getpid()}-watched", **options)
        self.kept = [(self.store.put(obj), obj) for obj in (SMALL, LARGE)]
        self.known = {ref.name for ref, _ in self.kept}
        self.expected = SMALL

    def folder(self, name):
        return set(os.listdir(os.path.join(self.store._directory.path, name)))

    def check(self):
        """Nothing is left of what was being written, nothing was lost, and nobody is in anybody's way."""
        store = self.store
        for ref, obj in self.kept:
            assert same(store.get(ref), obj)
        sealed = self.folder("sealed") - self.known
        if store._directory.spill is not None:
            sealed |= set(os.listdir(store._directory.spill)) - self.known - {"unfinished"}
        for name in sealed:
            assert same(store.get(fastser.ObjectRef(store.id, name)), self.expected)
            store.delete(fastser.ObjectRef(store.id, name))
        fastser.ObjectStore.attach(store.name).close()
        assert self.folder("new") == set()
        assert self.folder("sealed") <= self.known
        path = Path(store._directory.path)
        files = {folder: sum(directories_size(file) for file in (path / folder).iterdir()) for folder in ("sealed", "free")}
        with store._account as account:
            assert (account.used, account.free) == (files["sealed"] + files["free"], files["free"])
        assert {file.name for file in path.iterdir()} == {"store", "owner", "account", "new", "sealed", "free"}
        for obj in (SMALL, LARGE):
            ref = store.put(obj)
            assert same(store.get(ref), obj)
            store.delete(ref)


def directories_size(file):
    return -(-file.stat().st_size // 4096) * 4096


# --- what they are killed at ---------------------------------------------------------------------------------------------


def kill_puts():
    watch = Watch()
    store = watch.store
    killed = 0
    for obj in (SMALL, LARGE):
        watch.expected = obj

        def empty():  # no free segment: it is made
            watch.check()
            with store._account:
                store._segments._reclaim(1 << 40)

        empty()
        killed += kill_at_each_step(lambda: store.put(obj), empty)
        killed += kill_at_each_step(lambda: store.put(obj), watch.check)  # recycled
        killed += kill_at_each_step(lambda: store.put(obj, key="k"), watch.check)
        killed += kill_at_each_step(lambda: fastser.ObjectStore.attach(store.name).put(obj), watch.check)

    def build(shape):
        with store.create_array(shape, int) as array:
            array[:] = 7

    for shape in (100, 100_000):
        watch.expected = np.full(shape, 7)
        killed += kill_at_each_step(lambda: build(shape), watch.check)
    store.close()
    return killed


def kill_gets():
    watch = Watch()
    killed = 0
    for ref, obj in watch.kept:
        for mode in "rc":
            killed += kill_at_each_step(lambda: watch.store.get(ref, mode=mode), watch.check)
    watch.store.close()
    return killed


def kill_deletes():
    watch = Watch()
    store = watch.store
    killed = 0
    for obj in (SMALL, LARGE):
        watch.expected = obj
        refs = [store.put(obj)]
        watch.known.add(refs[0].name)

        def check():
            # Either it is there as a whole, or it is gone.
            if refs[0].name in watch.folder("sealed"):
                assert same(store.get(refs[0]), obj)
            else:
                watch.known.remove(refs[0].name)
                refs[0] = store.put(obj)
                watch.known.add(refs[0].name)
            watch.check()

        killed += kill_at_each_step(lambda: store.delete(refs[0]), check)
    store.close()
    return killed


def kill_spills(folder):
    watch = Watch(capacity=4 * 200_000, spill_dir=folder)
    store = watch.store
    watch.expected = LARGE
    older = [store.put(LARGE) for _ in range(3)]  # one more than there is room for

    def check():
        for ref in older:
            assert same(store.get(ref), LARGE)
        watch.check()
        while len(watch.folder("sealed")) < 4:  # full again, so that the next put spills
            older.append(store.put(LARGE))
            watch.known.add(older[-1].name)

    watch.known.update(ref.name for ref in older)
    check()
    killed = kill_at_each_step(lambda: store.put(LARGE), check)
    spilled = next(ref for ref in older if ref.name in os.listdir(store._directory.spill))
    killed += kill_at_each_step(lambda: store.get(spilled), check)
    path = store._directory.info["spill"]
    store.close()
    assert not os.path.exists(path)
    return killed


def kill_owners(folder):
    name = f"kills-{os.getpid()}"

    def live():
        store = fastser.ObjectStore.create(name, spill_dir=folder)
        store.put(SMALL)
        store.delete(store.put(LARGE))
        store.put(LARGE)
        store.close()

    def check():
        fastser.ObjectStore.create(name, spill_dir=folder).close()
        assert name not in directories.stores()
        assert os.listdir(folder) == []

    return kill_at_each_step(live, check)


def kill_attached():
    """The owner is killed; the next one who attaches finds what was sealed, and removes everything when it leaves."""
    name = f"kills-{os.getpid()}"

    def own():
        store = fastser.ObjectStore.create(name)
        store.put(LARGE, key="k")
        os.kill(os.getpid(), signal.SIGKILL)

    def attach_and_leave():
        store = fastser.ObjectStore.attach(name)
        assert same(store.get("k"), LARGE)
        store.close()

    assert wait(fork(own))
    killed = 1

    def check():
        if name in directories.stores() and "store" in os.listdir(os.path.join(directories.ROOT, f"fastser-{os.geteuid()}-{name}")):
            try:
                store = fastser.ObjectStore.attach(name)
            except fastser.StoreNotFoundError:  # it was being removed, and now is
                assert name not in directories.stores()
            else:
                assert same(store.get("k"), LARGE)
                return store._finish.detach()  # as if it were killed
        assert wait(fork(own))

    killed += kill_at_each_step(attach_and_leave, check)
    fastser.ObjectStore.create(name).close()
    assert name not in directories.stores()
    return killed


def kill_copies(count):
    """At any moment of a large copy, fresh or into recycled memory."""
    watch = Watch()
    watch.expected = LARGER
    chance = random.Random(5)
    killed = 0
    for _ in range(count):
        pid = fork(lambda: [watch.store.delete(watch.store.put(LARGER)) for _ in range(100)])
        time.sleep(chance.uniform(0.002, 0.05))
        os.kill(pid, signal.SIGKILL)
        killed += wait(pid)
        watch.check()
    watch.store.close()
    return killed


def main():
    with tempfile.TemporaryDirectory() as folder:
        killed = {
            "put": kill_puts(),
            "get": kill_gets(),
            "delete": kill_deletes(),
            "spill": kill_spills(folder),
            "create and close": kill_owners(folder),
            "attach": kill_attached(),
            "copy": kill_copies(40),
        }
    print(json.dumps({"killed": killed, "left": [name for name in directories.stores() if str(os.getpid()) in name]}))


if __name__ == "__main__":
    main()
