"""The shared-memory object store."""

from fastser.store.objects import ObjectStore
from fastser.store.reference import ObjectRef

__all__ = ["ObjectRef", "ObjectStore"]
