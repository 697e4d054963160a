"""A machine whose shared memory is small, as in a container: a file system of 16 MiB in the place of /dev/shm."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.core

MAY_MOUNT = (
    sys.platform.startswith("linux")
    and os.geteuid() == 0
    and shutil.which("unshare") is not None
    and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
)
needs_mount = pytest.mark.skipif(not MAY_MOUNT, reason="needs the right to mount")


def run(code: str, tmp_path, size="16m", *options: str) -> str:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(code))
    mount = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, *options, script, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@needs_mount
@pytest.mark.parametrize("capacity", ["", 'capacity="1GiB"'])
def test_arguments_and_results_larger_than_all_of_it(tmp_path, capacity):
    code = f"""
        import os, sys
        import fastser
        import numpy as np
        if __name__ == "__main__":
            with fastser.ObjectStore.create({capacity}) as store, fastser.Executor(2, store=store) as executor:
                large = np.arange(4_000_000)
                print(executor.submit(np.sum, large).result() == large.sum())
                print(np.array_equal(executor.submit(np.arange, 4_000_000).result(), large))
                print([bool(found == large.sum()) for found in executor.map(np.sum, [large] * 3)])
                print(executor.submit(np.sum, np.arange(100_000)).result(), store.refs())
            print(os.listdir("/dev/shm"))
    """
    found = run(code, tmp_path)
    assert "True\nTrue\n[True, True, True]\n4999950000 []\n[]\n" in found
    assert found.count("RuntimeWarning") == 1 and "through a pipe" in found


@needs_mount
def test_put_goes_to_disk_where_memory_is_full_before_the_capacity_is(tmp_path):
    code = """
        import os, sys
        import fastser
        import numpy as np
        with fastser.ObjectStore.create(capacity="1GiB", spill_dir=sys.argv[1]) as store:
            refs = [store.put(np.full(500_000, i)) for i in range(8)]  # 32 MB
            print([int(store.get(ref)[-1]) for ref in refs], [found.spilled for found in store.stats().objects].count(True) in (4, 5))
            text = store.put("ä" * 20_000_000, key="text")
            print(store.get("text") == "ä" * 20_000_000)
        print(os.listdir("/dev/shm"), [name for name in os.listdir(sys.argv[1]) if name != "program.py"])
    """
    assert run(code, tmp_path) == "[0, 1, 2, 3, 4, 5, 6, 7] True\nTrue\n[] []\n"


@needs_mount
def test_no_room_for_a_store_at_all(tmp_path):
    code = """
        import os
        import fastser
        with open("/dev/shm/full", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        try:
            fastser.ObjectStore.create()
        except fastser.StoreFullError as error:
            print(error)
        print(os.listdir("/dev/shm"))
    """
    assert run(code, tmp_path, "1m").startswith("/dev/shm is full: 4096 bytes are needed (ulimit -f is a limit too)\n['full']\n")
