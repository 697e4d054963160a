"""The interpreter's own caches, which tests of memory would take for leaks."""

import sys


def clear_caches():
    """Forget what it keeps of attributes that were looked for, and of code that it optimised."""
    for name in ("_clear_internal_caches", "_clear_type_cache"):  # the second is deprecated where the first exists
        if clear := getattr(sys, name, None):
            return clear()
