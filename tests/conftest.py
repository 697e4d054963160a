"""Settings that hold for the whole suite."""

import fastser


def pytest_report_header():
    return f"fastser: {fastser.__version__} from {fastser.__file__}"


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
