"""Settings that hold for the whole suite."""

import gc

import fastser
import pytest


def pytest_report_header():
    return f"fastser: {fastser.__version__} from {fastser.__file__}"


@pytest.fixture(scope="module", autouse=True)
def frozen_heap():
    """Many tests collect garbage: they need not look through all that pytest and the engines keep anyway."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()  # at the end the engines want to see their own objects go


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
