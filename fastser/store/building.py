"""Arrays that are built where they will lie: in the memory of the store."""

import math
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastser import errors
from fastser._core.dumps import pack
from fastser._core.store.shared import HEADER, SMALL, Mapping
from fastser.store.reference import ObjectRef, new_name
from fastser.store.segments import Segment, Segments

if TYPE_CHECKING:
    import numpy.typing as npt

_ALIGNMENT = 64  # of buffers in a frame


class StoredArray(np.ndarray[Any, Any]):
    """An array in a store that is being built. Its views and what is computed from it have no `ref`."""

    ref: ObjectRef | None = None


class ArrayBuilder:
    """The context of `ObjectStore.create_array`."""

    def __init__(self, segments: Segments, ref: ObjectRef, shape: int | Iterable[int], dtype: "npt.DTypeLike", order: Literal["C", "F"]) -> None:
        self._segments = segments
        self._ref = ref
        self._dtype = np.dtype(dtype)
        if self._dtype.hasobject or self._dtype.kind == "T":
            raise errors.not_an_array_type(self._dtype)
        model = np.broadcast_to(np.empty((), self._dtype), shape)
        self._shape = model.shape
        self._order: Literal["C", "F"] = order
        self._nbytes = pack(model).nbytes
        self._segment: Segment | None = None
        self._mapping: Mapping | None = None
        self.forked = False  # a child could write to what is sealed: a copy of it is sealed

    def __enter__(self) -> StoredArray:
        in_place = self._nbytes >= SMALL
        # Where it is not built in place, the segment is a sign for who waits that its writer lives.
        self._segment = self._segments.begin(self._ref.name, self._nbytes if in_place else 0)
        try:
            self._array = self._lay_out(self._segment) if in_place else StoredArray(self._shape, self._dtype, order=self._order)
        except BaseException:
            self._segments.abandon(self._segment)
            raise
        self._array.ref = self._ref
        return self._array

    def _lay_out(self, segment: Segment) -> StoredArray:
        """Write all of the frame but the elements, which are what is to be built."""
        size = math.prod(self._shape) * self._dtype.itemsize
        start = HEADER + self._nbytes - -(-size // _ALIGNMENT) * _ALIGNMENT
        self._mapping = Mapping(segment.fd, segment.size, 0, HEADER + self._nbytes, writable=True)
        array = StoredArray(self._shape, self._dtype, memoryview(self._mapping), start, order=self._order)
        with memoryview(self._mapping) as memory:
            position = HEADER
            for piece in pack(array.view(np.ndarray)).buffers():
                taken = min(piece.nbytes, start - position)
                memory[position : position + taken] = piece[:taken]
                position += taken
            memory[start + size :] = bytes(len(memory) - start - size)
        return array

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._array.flags.writeable = False
        segment, self._segment = self._segment, None
        if segment is None:  # a forked process: sealing is for its parent
            return
        try:
            if kind is None and self._mapping is not None and not self.forked:
                # Views can still be written through. What they write from now on is theirs alone.
                self._mapping.replace(segment.fd, shared=False)
                self._segments.seal(segment, segment.name, self._nbytes, viewed=True)
            elif kind is None:
                self._segments.write(new_name(), pack(self._array.view(np.ndarray)), segment.name)
        finally:
            self._segments.abandon(segment)

    def after_fork(self) -> None:
        """In the child: it may go on filling the array, but whether the writer lives is about the parent alone."""
        segment, self._segment = self._segment, None
        if segment is not None and self._mapping is not None:
            self._segments.map_again(segment, self._mapping)
