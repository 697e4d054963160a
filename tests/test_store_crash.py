"""The object store when processes are killed, and when many use it at once: programs that are run on their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the store needs Linux")

FOLDER = Path(__file__).parent
SECONDS = os.environ.get("FASTSER_STORE_SECONDS", "8")  # set it to 60 for the long run


def run(program, *arguments):
    done = subprocess.run([sys.executable, "-W", "ignore", str(FOLDER / program), *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_killed_processes_lose_nothing_but_what_they_were_writing():
    found = run("store_kills.py")
    assert found["left"] == []
    assert sum(found["killed"].values()) >= 500
    assert all(found["killed"].values())


def test_many_writers_and_readers():
    found = run("store_stress.py", SECONDS)
    assert found.pop("compared") > 100
    assert found == {"failed": 0, "left": 0, "account is exact": True}
