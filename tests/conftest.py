"""Settings that hold for the whole suite."""

import gc
import multiprocessing
import os
import sys

import pytest

import fastser


def pytest_report_header():
    return f"fastser: {fastser.__version__} from {fastser.__file__}"


@pytest.fixture(scope="module", autouse=True)
def frozen_heap():
    """Many tests collect garbage: they need not look through all that pytest and the engines keep anyway."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()  # at the end the engines want to see their own objects go


def pytest_sessionfinish(session):
    """When all is done, no store of these tests is left, and no worker lives."""
    gc.collect()
    left = [f"worker {child}" for child in multiprocessing.active_children()]
    if sys.platform == "linux" and os.path.isdir("/dev/shm"):
        from fastser.store.directory import stores

        fastser.ObjectStore.create().close()  # removes what the tests that kill processes left behind
        for name in stores():
            try:
                with fastser.ObjectStore.attach(name) as store:
                    stats = store.stats()
            except fastser.StoreError:  # it went meanwhile, or is not ours
                continue
            if stats.owner == os.getpid():
                left.append(f"store {name}, with {len(stats.objects)} objects")
    if left:
        session.exitstatus = 1
        session.config.get_terminal_writer().line(f"\nleft behind: {', '.join(left)}", red=True)


try:
    from hypothesis import HealthCheck, settings
except ImportError:
    # The tests marked "core" also run where nothing but numpy, cloudpickle and pytest is installed.
    pass
else:
    # No test may depend on how fast the machine is; the same examples every time, everywhere.
    settings.register_profile(
        "fastser", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("fastser")
