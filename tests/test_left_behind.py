"""Programs that are killed: their workers end, and their stores are gone once the next program makes one."""

import contextlib
import multiprocessing
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import numpy as np
import pytest

import fastser
from fastser.__main__ import main

pytestmark = [
    pytest.mark.core,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the store needs the shared memory of Linux"),
]

SHARED_MEMORY = pathlib.Path("/dev/shm")
METHODS = ["fork", "spawn", "forkserver"]

PROGRAM = """
import multiprocessing, os, sys, time
import fastser
import numpy as np

def report(seconds):
    os.write(1, b"%d\\n" % os.getpid())  # at once, since there are two
    time.sleep(seconds)
    return np.zeros(100_000)

def main():
    method, busy = sys.argv[1:]
    executor = fastser.Executor(2, multiprocessing.get_context(method))
    futures = [executor.submit(report, 0.2) for _ in range(2)]
    arrays = [future.result() for future in futures]
    if busy == "busy":
        futures = [executor.submit(report, 1000) for _ in range(2)]
    if busy == "among others":  # a child that lives on, and inherits all that is open
        child = os.fork()
        if not child:
            time.sleep(1000)
        os.write(1, b"%d\\n" % child)
    os.write(1, executor.store.name.encode() + b"\\n")
    time.sleep(1000)

if __name__ == "__main__":
    main()
"""


def lives(pid) -> bool:
    """Whether it runs. Nobody may be there to wait for it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the second if it ends between the opening and the reading
        return False


def until(condition) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("it did not happen")


def children(pid) -> list[int]:
    """All that come from a process."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended since
            for child in map(int, task.read_text().split()):
                found += [child, *children(child)]
    return found


def own() -> set[str]:
    return {path.name for path in SHARED_MEMORY.iterdir() if path.name.startswith(f"fastser-{os.geteuid()}-")}


@pytest.mark.parametrize("busy", ["idle", "busy", "among others"])
@pytest.mark.parametrize("method", METHODS)
def test_workers_end_with_their_program_and_so_does_its_store(method, busy, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    program = subprocess.Popen([sys.executable, script, method, busy], stdout=subprocess.PIPE, text=True)
    lines = [program.stdout.readline().strip() for _ in range({"idle": 3, "busy": 5, "among others": 4}[busy])]
    child = int(lines.pop(2)) if busy == "among others" else None
    (name,) = [line for line in lines if line.startswith("store-")]
    workers = {int(line) for line in lines if line != name}
    others = set(children(program.pid)) - workers
    assert f"fastser-{os.geteuid()}-{name}" in own()
    program.kill()
    program.wait()
    program.stdout.close()
    until(lambda: not any(map(lives, workers)))
    if child is not None:
        assert f"fastser-{os.geteuid()}-{name}" in own()  # it is attached
        os.kill(child, signal.SIGKILL)
    until(lambda: not any(map(lives, others)))
    fastser.ObjectStore.create().close()  # nothing to do for it, if the last worker took it along
    assert f"fastser-{os.geteuid()}-{name}" not in own()


def run(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True)


OWNER = """
    import sys, time
    import fastser
    store = fastser.ObjectStore.create(*sys.argv[1:])
    store.put(b"x" * 1_000_000)
    print(store.name, flush=True)
    time.sleep(1000)
"""


def test_stores_of_three_killed_programs_are_gone_once_the_next_starts():
    programs = [run(OWNER) for _ in range(3)]
    names = {f"fastser-{os.geteuid()}-{program.stdout.readline().strip()}" for program in programs}
    assert names <= own()
    with fastser.ObjectStore.create():  # of the living
        assert names <= own()
    for program in programs:
        program.kill()
        program.wait()
        program.stdout.close()
    assert names <= own()
    with fastser.Executor(1):
        assert not names & own()


def test_what_was_half_made_is_gone_too():
    folder = SHARED_MEMORY / f"fastser-{os.geteuid()}-half-made"
    folder.mkdir(mode=0o700)
    fastser.ObjectStore.create().close()
    assert not folder.exists()


def test_what_is_not_a_store_of_ours_is_left_alone(tmp_path):
    file = SHARED_MEMORY / f"fastser-{os.geteuid()}-a-file"
    link = SHARED_MEMORY / f"fastser-{os.geteuid()}-a-link"
    shared = SHARED_MEMORY / f"fastser-{os.geteuid()}-of-all"
    kept = tmp_path / "kept"
    kept.mkdir()
    try:
        file.write_text("text")
        link.symlink_to(tmp_path)
        shared.mkdir()
        shared.chmod(0o777)
        fastser.ObjectStore.create().close()
        assert file.read_text() == "text" and link.is_symlink() and shared.exists() and kept.exists()
    finally:
        file.unlink()
        link.unlink()
        shared.rmdir()


def test_the_same_name_again_while_others_clear_up(name="again"):
    """Programs that start at once, each of which may be the one that removes what the last ones left."""
    for _ in range(5):
        dead = run(OWNER, name)
        assert dead.stdout.readline().strip() == name
        dead.kill()
        dead.wait()
        dead.stdout.close()
        others = [run(OWNER) for _ in range(3)]
        with fastser.ObjectStore.create(name) as store:
            assert store.name == name and store.refs() == []
        for other in others:
            other.stdout.readline()
            other.kill()
            other.wait()
            other.stdout.close()
    fastser.ObjectStore.create().close()


def test_ls_marks_dead_owners_and_rm_names_force(capsys):
    program = run(OWNER, "of-the-dead")
    program.stdout.readline()
    with fastser.ObjectStore.attach("of-the-dead") as store:
        assert store.stats().owner_lives
        main(["store", "ls"])
        assert re.search(rf"^of-the-dead .*  process {program.pid}$", capsys.readouterr().out, re.M)
        program.kill()
        program.wait()
        program.stdout.close()
        assert not store.stats().owner_lives
        fastser.ObjectStore.create().close()
        main(["store", "ls"])
        assert re.search(rf"^of-the-dead .*  process {program.pid}, dead$", capsys.readouterr().out, re.M)
        with pytest.raises(SystemExit):
            main(["store", "rm", "of-the-dead"])
        assert capsys.readouterr().err.endswith(
            "the object store 'of-the-dead' is in use: its owner is dead, but others are attached to it; --force removes it all the same\n"
        )
        assert len(store.refs()) == 1
        assert not main(["store", "rm", "--force", "of-the-dead"])
    with pytest.raises(fastser.StoreNotFoundError):
        fastser.ObjectStore.attach("of-the-dead")


def test_a_forked_child_is_no_owner():
    store = fastser.ObjectStore.create()
    child = os.fork()
    if not child:
        time.sleep(1000)
    try:
        assert store.stats().owner_lives
        with fastser.ObjectStore.attach(store.name) as attached:
            store._directory._claim.release()  # as the kernel does when the process dies
            assert not attached.stats().owner_lives
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        store.close()


EXECUTOR = """
    import os, sys, time
    import fastser
    import numpy as np
    if __name__ == "__main__":
        store = fastser.ObjectStore.attach(sys.argv[1])
        executor = fastser.Executor(1, store=store)
        executor.submit(np.sum, np.ones(100_000)).result()
        future = executor.submit(lambda array: time.sleep(1000), np.ones(100_000))
        print(len(store.refs()), flush=True)
        os.kill(os.getpid(), 9)
"""


def test_what_a_killed_executor_had_in_a_store_of_others():
    with fastser.ObjectStore.create() as store:
        kept = store.put(np.zeros(10))
        program = run(EXECUTOR, store.name)
        assert program.stdout.readline() == "2\n"
        program.wait()
        program.stdout.close()
        assert len(store.refs()) == 2
        with fastser.Executor(1, store=store) as executor:
            assert store.refs() == [kept]
            assert executor.submit(np.sum, np.ones(100_000)).result() == 100_000
            with fastser.Executor(1, store=store) as other:  # the claim of one that lives is respected
                future = other.submit(np.ones, 100_000)
                del future
        assert store.refs() == [kept]
        assert [file for file in os.listdir(store._directory.path) if file.startswith("claim")] == []


def test_trim():
    with fastser.ObjectStore.create() as store:
        refs = [store.put(np.arange(50_000 + i)) for i in range(10)]
        view = store.get(refs[0])
        for ref in refs:
            store.delete(ref)
        before = store.stats()
        assert before.used == before.free > 4_000_000
        given = store.trim()
        after = store.stats()
        assert after.used == after.free == before.used - given and 400_000 < after.used < 410_000
        assert np.array_equal(view, np.arange(50_000))
        del view
        assert store.trim() == after.used and store.stats().used == 0
        assert store.trim() == 0
        assert np.array_equal(store.get(store.put(np.arange(50_000))), np.arange(50_000))
    with pytest.raises(fastser.StoreClosedError):
        store.trim()


def test_the_memory_of_an_executor_can_be_given_back():
    with fastser.Executor(2) as executor:
        for found in executor.map(np.ones, [100_000] * 8):
            assert found.sum() == 100_000
        del found
        until(lambda: not executor.store.refs())
        executor.store.trim()
        assert executor.store.stats().used == 0
        assert executor.submit(np.sum, np.ones(100_000)).result() == 100_000


def test_the_default_is_safe_whatever_threads_run(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
            import multiprocessing, sys
            import fastser
            if __name__ == "__main__":
                if len(sys.argv) > 1:
                    multiprocessing.set_start_method(sys.argv[1])
                with fastser.Executor(1) as executor:
                    print(type(executor._pool._mp_context).__name__)
        """)
    )

    def started(*method):
        return subprocess.run([sys.executable, script, *method], capture_output=True, text=True, check=True).stdout.strip()

    assert started() == "ForkServerContext"
    for method, name in zip(METHODS, ("ForkContext", "SpawnContext", "ForkServerContext")):
        assert started(method) == name


@pytest.mark.skipif(sys.version_info < (3, 11), reason="max_tasks_per_child is new in Python 3.11")
def test_workers_that_are_replaced_are_not_forked_either():
    with fastser.Executor(1, max_tasks_per_child=1) as executor:
        assert len({executor.submit(os.getpid).result() for _ in range(2)}) == 2


def test_forking_while_threads_run_warns():
    import threading

    fork = multiprocessing.get_context("fork")
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with pytest.warns(RuntimeWarning, match=r"^the workers were forked while \d+ other threads ran: .*'forkserver'") as warned:
            with fastser.Executor(1, fork) as executor:
                assert executor.submit(abs, -1).result() == 1
                assert executor.submit(abs, -2).result() == 2
        assert [each.filename for each in warned if each.category is RuntimeWarning] == [__file__]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_forking_while_none_runs_does_not():
    code = """
        import multiprocessing, sys, warnings
        import fastser
        import numpy as np
        warnings.simplefilter("error")
        np.ones((500, 500)) @ np.ones((500, 500))  # starts threads that end before a fork
        with fastser.Executor(1, multiprocessing.get_context("fork")) as executor:
            print(executor.submit(abs, -1).result())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_polars_in_the_program_and_in_its_workers():
    pytest.importorskip("polars")
    code = """
        import fastser
        import polars as pl
        def total(frame):
            return frame.lazy().select(pl.col("a").sum()).collect().item()
        if __name__ == "__main__":
            frame = pl.DataFrame({"a": range(100_000)})
            print(total(frame))
            with fastser.Executor(1) as executor:
                print(executor.submit(total, frame).result(60))
    """
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder, "program.py")
        script.write_text(textwrap.dedent(code))
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr) == ("4999950000\n" * 2, "")
