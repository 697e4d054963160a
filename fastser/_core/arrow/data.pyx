"""Arrow data of any type: taken from a producer, or made of a description and buffers; handed to consumers."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free, realloc

from fastser import errors
from fastser._core.arrow.abi cimport ArrowArray, ArrowArrayStream, ArrowSchema
from fastser._core.arrow.build cimport Span, build_array, build_schema
from fastser._core.arrow.capsules cimport (
    new_array_capsule, new_schema_capsule, new_stream_capsule, stream_next, stream_schema, take_schema, take_schema_and_array,
    take_stream,
)
from fastser._core.arrow.check cimport check_array, check_schema, check_values
from fastser._core.arrow.describe cimport Apart, ArrowBuffer, describe_array, describe_schema
from fastser._core.arrow.lend cimport Loan, export, export_stream, lend_of, loan_end
from fastser._core.arrow.place cimport Place, place_chunk, place_text
from fastser._core.c.arena cimport arena_free

from pickle import PickleBuffer


cdef tuple KINDS = ("stream", "array", "schema")


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class ArrowData:
    """Arrow data of any type: a schema alone, one array, or a stream of chunks.

    It is a producer of the Arrow PyCapsule interface, so pyarrow, Polars, DuckDB and others read it without a copy. Of the
    interface's methods it has those that suit its kind: each has ``__arrow_c_schema__``, a stream and an array have
    ``__arrow_c_stream__``, and only an array has ``__arrow_c_array__``.

    Attributes
    ----------
    kind : str
        "schema", "array" or "stream".
    nbytes : int
        The bytes that the data uses, of all its buffers.

    Examples
    --------
    >>> import fastser
    >>> class Producer:                       # any Arrow array, table or data frame will do
    ...     def __arrow_c_array__(self, requested_schema=None):
    ...         return fastser.pack([1, 2]).__arrow_c_array__()
    >>> fastser.ArrowData.from_producer(Producer())
    <fastser.ArrowData: array of 1, format '+s'>
    """

    def __init__(self, *args, **kwargs):
        raise errors.no_constructor("ArrowData", "fastser.ArrowData.from_producer")

    def __cinit__(self):
        # Whole also where nothing else is put into it, as by ArrowData.__new__(ArrowData).
        self.kind = "schema"
        self.schema.format = "n"

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.produced:
            for i in range(self.count):
                if self.arrays[i].release != NULL:
                    self.arrays[i].release(&self.arrays[i])
            if self.schema.release != NULL:
                self.schema.release(&self.schema)
        free(self.arrays)
        arena_free(&self.arena)

    @classmethod
    def from_producer(cls, producer, *, kind=None):
        """Take the data of a producer, without a copy; a stream is read to its end.

        Parameters
        ----------
        producer : object
            Has ``__arrow_c_stream__``, ``__arrow_c_array__`` or ``__arrow_c_schema__``.
        kind : "stream", "array" or "schema", optional
            Which of these to call. By default, the first that it has.

        Returns
        -------
        ArrowData

        Raises
        ------
        TypeError
            It has no such method, or its method returns something else than the interface's capsules.
        EncodeError
            A column holds no values, but addresses of Python objects: one of Polars' dtype Object.
        DecodeError
            The data is malformed, or its stream fails.

        Examples
        --------
        >>> import fastser
        >>> class Producer:
        ...     def __arrow_c_array__(self, requested_schema=None):
        ...         return fastser.pack([1, 2]).__arrow_c_array__()
        >>> len(fastser.ArrowData.from_producer(Producer(), kind="array"))
        1
        """
        cdef ArrowData self = ArrowData.__new__(ArrowData)
        if kind is None:
            for kind in KINDS:
                if hasattr(producer, f"__arrow_c_{kind}__"):
                    break
            else:
                raise errors.not_arrow(producer, "__arrow_c_stream__, __arrow_c_array__ or __arrow_c_schema__")
        elif kind not in KINDS:
            raise errors.bad_option("kind", "'stream', 'array', 'schema' or None", kind)
        elif not hasattr(producer, f"__arrow_c_{kind}__"):
            raise errors.not_arrow(producer, f"__arrow_c_{kind}__")
        self.kind = kind
        self.produced = True
        if kind == "stream":
            _read_stream(self, producer.__arrow_c_stream__())
        elif kind == "array":
            self.arrays = <ArrowArray*> calloc(1, sizeof(ArrowArray))
            if self.arrays == NULL:
                raise MemoryError()
            take_schema_and_array(producer.__arrow_c_array__(), &self.schema, self.arrays)
            self.count = 1
            check_schema(&self.schema, 1, NULL)
            check_values(&self.schema, NULL)
            check_array(&self.schema, self.arrays, False, False, NULL)
        else:
            take_schema(producer.__arrow_c_schema__(), &self.schema)
            check_schema(&self.schema, 1, NULL)
        return self

    @classmethod
    def from_parts(cls, description, buffers, full=False):
        """Put together what `take_apart` returned; the buffers are viewed, not copied.

        Parameters
        ----------
        description : tuple
            As `take_apart` returns it. All of it is checked, against the sizes of the buffers too.
        buffers : sequence of bytes-like
            Those that are not aligned as their items ask for are copied.
        full : bool
            Check every offset, index, type id, end of a run, view and text as well, for data from strangers.

        Returns
        -------
        ArrowData

        Raises
        ------
        DecodeError
            Description and buffers are no well-formed Arrow data. The message tells where.
        DepthError
            It is nested more than 64 levels deep.

        Examples
        --------
        >>> import array, fastser
        >>> schema = ("l", "", None, 2, (), None)     # format, name, metadata, flags, children, dictionary
        >>> node = (3, 0, 0, (0, 1), (), None)        # length, null count, offset, buffers, children, dictionary
        >>> fastser.ArrowData.from_parts(("array", schema, (node,)), [array.array("q", [1, 2, 3])])
        <fastser.ArrowData: array of 3, format 'l'>
        """
        cdef Span* spans
        cdef list views = []
        cdef Py_ssize_t i
        cdef Py_buffer buffer
        for source in buffers:
            views.append(memoryview(source))
        spans = <Span*> calloc(len(views) + 1, sizeof(Span))
        if spans == NULL:
            raise MemoryError()
        try:
            for i in range(len(views)):
                # The view holds the memory after this, too.
                PyObject_GetBuffer(views[i], &buffer, PyBUF_SIMPLE)
                spans[i].data = <const char*> buffer.buf
                spans[i].size = buffer.len
                PyBuffer_Release(&buffer)
            return arrow_data_build(description, spans, len(views), views, full)
        finally:
            free(spans)

    def take_apart(self):
        """Describe the data, and lend its buffers.

        Returns
        -------
        description : tuple
            ``(kind, schema, arrays)``, where a schema is ``(format, name, metadata, flags, children, dictionary)``
            and an array is ``(length, null count, offset, buffers, children, dictionary)``, both as in the
            Arrow C data interface. Buffers are numbered from 1; 0 is one that is missing or empty.
        buffers : list of ArrowBuffer
            Bytes-like, read-only. Of larger buffers that the data is a slice of, just the part that is used.

        Examples
        --------
        >>> import array, fastser
        >>> schema, node = ("l", "", None, 2, (), None), (3, 0, 0, (0, 1), (), None)
        >>> data = fastser.ArrowData.from_parts(("array", schema, (node,)), [array.array("q", [1, 2, 3])])
        >>> description, buffers = data.take_apart()
        >>> description[2], [memoryview(buffer).nbytes for buffer in buffers]
        (((3, 0, 0, (0, 1), (), None),), [24])
        """
        return arrow_data_take_apart(self)

    @property
    def nbytes(self):
        cdef ArrowBuffer buffer
        cdef Py_ssize_t total = 0
        for buffer in arrow_data_take_apart(self)[1]:
            total += buffer.size
        return total

    def __len__(self):
        cdef Py_ssize_t i, total = 0
        for i in range(self.count):
            total += self.arrays[i].length
        return total

    def __repr__(self):
        what = self.kind
        if self.kind == "stream":
            what += f" of {len(self)} in {self.count} chunks"
        elif self.kind == "array":
            what += f" of {len(self)}"
        return f"<fastser.ArrowData: {what}, format {(<bytes> self.schema.format).decode('utf-8', 'replace')!r}>"

    def __bool__(self):
        return True

    def __reduce_ex__(self, protocol):
        description, buffers = arrow_data_take_apart(self)
        return ArrowData.from_parts, (description, [PickleBuffer(b) if protocol >= 5 else bytes(b) for b in buffers])

    def __arrow_c_schema__(self):
        """The schema, as a capsule of the Arrow PyCapsule interface."""
        return _schema_capsule(self)

    @property
    def __arrow_c_array__(self):
        """A function that exports an array, as capsules of the Arrow PyCapsule interface."""
        if self.kind != "array":
            raise AttributeError("__arrow_c_array__")
        return self._export_array

    @property
    def __arrow_c_stream__(self):
        """A function that exports an array or a stream, as a capsule of the Arrow PyCapsule interface."""
        if self.kind == "schema":
            raise AttributeError("__arrow_c_stream__")
        return self._export_stream

    # Schemas are not cast to: the interface leaves that to the producer.

    def _export_array(self, requested_schema=None):
        cdef ArrowArray* array = NULL
        cdef Loan* loan
        schema = _schema_capsule(self)
        capsule = new_array_capsule(&array)
        loan = lend_of(self)
        try:
            if export(self.arrays, loan, array) < 0:
                raise MemoryError()
        finally:
            loan_end(loan)
        return schema, capsule

    def _export_stream(self, requested_schema=None):
        cdef ArrowArrayStream* stream = NULL
        cdef Loan* loan
        capsule = new_stream_capsule(&stream)
        loan = lend_of(self)
        try:
            if export_stream(&self.schema, self.arrays, self.count, loan, stream) < 0:
                raise MemoryError()
        finally:
            loan_end(loan)
        return capsule


cdef object _schema_capsule(ArrowData self):
    cdef ArrowSchema* schema = NULL
    cdef Loan* loan
    capsule = new_schema_capsule(&schema)
    loan = lend_of(self)
    try:
        if export(&self.schema, loan, schema) < 0:
            raise MemoryError()
    finally:
        loan_end(loan)
    return capsule


cdef int _read_stream(ArrowData self, object capsule) except -1:
    cdef ArrowArrayStream stream
    cdef ArrowArray array
    cdef ArrowArray* arrays
    cdef Py_ssize_t room = 0
    cdef Place place
    take_stream(capsule, &stream)
    try:
        stream_schema(&stream, &self.schema)
        check_schema(&self.schema, 1, NULL)
        check_values(&self.schema, NULL)
        while stream_next(&stream, &array):
            if self.count == room:
                room = 2 * room + 1
                arrays = <ArrowArray*> realloc(self.arrays, room * sizeof(ArrowArray))
                if arrays == NULL:
                    array.release(&array)
                    raise MemoryError()
                self.arrays = arrays
            self.arrays[self.count] = array
            self.count += 1
            place = place_chunk(self.count - 1)
            check_array(&self.schema, &self.arrays[self.count - 1], False, False, &place)
    finally:
        if stream.release != NULL:
            stream.release(&stream)
    return 0


cdef int _bad(object expected, object found, const Place* place) except -1:
    raise errors.bad_arrow(expected, found, place_text(place))


cdef ArrowData arrow_data_build(object description, Span* spans, Py_ssize_t count, object owner, bint full):
    cdef ArrowData self = ArrowData.__new__(ArrowData)
    cdef Place place
    cdef const Place* at = NULL
    cdef set seen = set()
    cdef Py_ssize_t i
    if type(description) is not tuple or len(<tuple> description) != 3:
        _bad("a description: (kind, schema, arrays)", errors.tuple_or_type(description), NULL)
    kind, schema, nodes = <tuple> description
    if type(kind) is not str or kind not in KINDS:
        _bad("'stream', 'array' or 'schema'", errors.brief(kind), NULL)
    if type(nodes) is not tuple or (kind == "array" and len(<tuple> nodes) != 1) or (kind == "schema" and nodes):
        _bad(f"the arrays of {kind!r}, a tuple", errors.tuple_or_type(nodes), NULL)
    self.kind = kind
    self.description = description
    self.owner = owner
    self.copies = []
    build_schema(&self.arena, schema, &self.schema, seen, 1, NULL)
    check_schema(&self.schema, 1, NULL)
    self.arrays = <ArrowArray*> calloc(len(<tuple> nodes) + 1, sizeof(ArrowArray))
    if self.arrays == NULL:
        raise MemoryError()
    for i in range(len(<tuple> nodes)):
        if kind == "stream":
            place = place_chunk(i)
            at = &place
        build_array(&self.arena, (<tuple> nodes)[i], &self.schema, spans, count, self.copies, &self.arrays[i], seen, at)
        check_array(&self.schema, &self.arrays[i], True, full, at)
        self.count += 1
    return self


cdef tuple arrow_data_take_apart(ArrowData self):
    cdef Apart apart = Apart.__new__(Apart)
    cdef Place place
    cdef const Place* at = NULL
    cdef Py_ssize_t i
    cdef list nodes = []
    apart.owner = self
    apart.buffers = []
    apart.shared = {}
    schema = describe_schema(&self.schema, NULL)
    for i in range(self.count):
        if self.kind == "stream":
            place = place_chunk(i)
            at = &place
        nodes.append(describe_array(apart, &self.schema, &self.arrays[i], at))
    return (self.kind, schema, tuple(nodes)), apart.buffers
