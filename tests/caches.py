"""The interpreter's own caches, which tests of memory would take for leaks."""

import sys


def clear_caches():
    """Forget what they keep of attributes that were looked for."""
    for name in ("_clear_internal_caches", "_clear_type_cache"):  # the second is deprecated where the first exists
        if clear := getattr(sys, name, None):
            return clear()
