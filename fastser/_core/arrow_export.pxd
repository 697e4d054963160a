"""Arrow structs lent to consumers: copies of a tree of structs, over the same buffers, which an owner keeps.

All structs of one copy are one allocation with a count of those that are alive in it, since a consumer may move any child
away and release it on its own: later, on another thread, without the GIL.  Only the end of the last one asks for the GIL.
"""

from cpython.object cimport PyObject
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastser._core.abi cimport ArrowArray, ArrowArrayStream, ArrowSchema
from fastser._core.arrow_out cimport fastser_count_down, fastser_release_owner


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #define fastser_count_up(count) _InterlockedIncrement64((volatile __int64 *) (count))
    #else
    #define fastser_count_up(count) __atomic_add_fetch((count), 1, __ATOMIC_RELAXED)
    #endif
    """
    int64_t fastser_count_up(int64_t* count) noexcept nogil


cdef struct Loan:
    # A reference to a Python object that code without the GIL can share.
    int64_t count
    PyObject* owner              # strong


cdef struct ExportBlock:
    int64_t count                # structs that are not released yet
    Loan* loan


cdef struct StreamExport:
    Loan* loan
    const ArrowSchema* schema
    const ArrowArray* arrays
    Py_ssize_t count
    Py_ssize_t next


cdef inline void loan_end(Loan* loan) noexcept nogil:
    if fastser_count_down(&loan.count) == 0:
        fastser_release_owner(loan.owner)
        free(loan)


cdef inline Loan* loan_new(PyObject* owner) noexcept nogil:
    """Takes over a reference to ``owner`` when it succeeds; NULL when memory is short."""
    cdef Loan* loan = <Loan*> malloc(sizeof(Loan))
    if loan != NULL:
        loan.count = 1
        loan.owner = owner
    return loan


# --- schemas ---------------------------------------------------------------------------------------------------------


cdef inline void exported_schema_release(ArrowSchema* schema) noexcept nogil:
    cdef ExportBlock* block = <ExportBlock*> schema.private_data
    cdef int64_t i
    for i in range(schema.n_children):
        if schema.children[i].release != NULL:
            schema.children[i].release(schema.children[i])
    if schema.dictionary != NULL and schema.dictionary.release != NULL:
        schema.dictionary.release(schema.dictionary)
    schema.release = NULL
    if fastser_count_down(&block.count) == 0:
        loan_end(block.loan)
        free(block)


cdef inline void _measure_schema(const ArrowSchema* source, size_t* structs, size_t* pointers) noexcept nogil:
    cdef int64_t i
    structs[0] += 1
    pointers[0] += <size_t> source.n_children
    for i in range(source.n_children):
        _measure_schema(source.children[i], structs, pointers)
    if source.dictionary != NULL:
        _measure_schema(source.dictionary, structs, pointers)


cdef inline void _copy_schema(
    const ArrowSchema* source, ArrowSchema* out, ExportBlock* block, ArrowSchema** structs, ArrowSchema*** pointers,
) noexcept nogil:
    cdef int64_t i
    out[0] = source[0]
    out.release = exported_schema_release
    out.private_data = block
    out.children = pointers[0] if source.n_children else NULL
    pointers[0] += source.n_children
    for i in range(source.n_children):
        out.children[i] = structs[0]
        structs[0] += 1
        _copy_schema(source.children[i], out.children[i], block, structs, pointers)
    if source.dictionary != NULL:
        out.dictionary = structs[0]
        structs[0] += 1
        _copy_schema(source.dictionary, out.dictionary, block, structs, pointers)


cdef inline int export_schema(const ArrowSchema* source, Loan* loan, ArrowSchema* out) noexcept nogil:
    """Fill ``out``; -1 when memory is short.  Holds the loan itself, so the caller's part of it stays the caller's."""
    cdef size_t count = 0, pointer_count = 0
    cdef ExportBlock* block
    cdef ArrowSchema* structs
    cdef ArrowSchema** pointers
    _measure_schema(source, &count, &pointer_count)
    block = <ExportBlock*> malloc(sizeof(ExportBlock) + (count - 1) * sizeof(ArrowSchema) + pointer_count * sizeof(void*))
    if block == NULL:
        return -1
    block.count = <int64_t> count
    block.loan = loan
    fastser_count_up(&loan.count)
    structs = <ArrowSchema*> (block + 1)
    pointers = <ArrowSchema**> (structs + count - 1)
    _copy_schema(source, out, block, &structs, &pointers)
    return 0


# --- arrays ----------------------------------------------------------------------------------------------------------


cdef inline void exported_array_release(ArrowArray* array) noexcept nogil:
    cdef ExportBlock* block = <ExportBlock*> array.private_data
    cdef int64_t i
    for i in range(array.n_children):
        if array.children[i].release != NULL:
            array.children[i].release(array.children[i])
    if array.dictionary != NULL and array.dictionary.release != NULL:
        array.dictionary.release(array.dictionary)
    array.release = NULL
    if fastser_count_down(&block.count) == 0:
        loan_end(block.loan)
        free(block)


cdef inline void _measure_array(const ArrowArray* source, size_t* structs, size_t* pointers) noexcept nogil:
    cdef int64_t i
    structs[0] += 1
    pointers[0] += <size_t> source.n_children
    for i in range(source.n_children):
        _measure_array(source.children[i], structs, pointers)
    if source.dictionary != NULL:
        _measure_array(source.dictionary, structs, pointers)


cdef inline void _copy_array(
    const ArrowArray* source, ArrowArray* out, ExportBlock* block, ArrowArray** structs, ArrowArray*** pointers,
) noexcept nogil:
    # The pointers to buffers are the source's own: they live as long as it does.
    cdef int64_t i
    out[0] = source[0]
    out.release = exported_array_release
    out.private_data = block
    out.children = pointers[0] if source.n_children else NULL
    pointers[0] += source.n_children
    for i in range(source.n_children):
        out.children[i] = structs[0]
        structs[0] += 1
        _copy_array(source.children[i], out.children[i], block, structs, pointers)
    if source.dictionary != NULL:
        out.dictionary = structs[0]
        structs[0] += 1
        _copy_array(source.dictionary, out.dictionary, block, structs, pointers)


cdef inline int export_array(const ArrowArray* source, Loan* loan, ArrowArray* out) noexcept nogil:
    """Fill ``out``; -1 when memory is short.  Holds the loan itself, so the caller's part of it stays the caller's."""
    cdef size_t count = 0, pointer_count = 0
    cdef ExportBlock* block
    cdef ArrowArray* structs
    cdef ArrowArray** pointers
    _measure_array(source, &count, &pointer_count)
    block = <ExportBlock*> malloc(sizeof(ExportBlock) + (count - 1) * sizeof(ArrowArray) + pointer_count * sizeof(void*))
    if block == NULL:
        return -1
    block.count = <int64_t> count
    block.loan = loan
    fastser_count_up(&loan.count)
    structs = <ArrowArray*> (block + 1)
    pointers = <ArrowArray**> (structs + count - 1)
    _copy_array(source, out, block, &structs, &pointers)
    return 0


# --- streams ---------------------------------------------------------------------------------------------------------


cdef inline int exported_stream_schema(ArrowArrayStream* stream, ArrowSchema* out) noexcept nogil:
    cdef StreamExport* export = <StreamExport*> stream.private_data
    return ENOMEM if export_schema(export.schema, export.loan, out) < 0 else 0


cdef inline int exported_stream_next(ArrowArrayStream* stream, ArrowArray* out) noexcept nogil:
    cdef StreamExport* export = <StreamExport*> stream.private_data
    if export.next == export.count:
        memset(out, 0, sizeof(ArrowArray))   # released: the end
        return 0
    if export_array(&export.arrays[export.next], export.loan, out) < 0:
        return ENOMEM
    export.next += 1
    return 0


cdef inline const char* exported_stream_error(ArrowArrayStream* stream) noexcept nogil:
    return "memory is short"


cdef inline void exported_stream_release(ArrowArrayStream* stream) noexcept nogil:
    cdef StreamExport* export = <StreamExport*> stream.private_data
    stream.release = NULL
    loan_end(export.loan)
    free(export)


cdef inline int export_stream(
    const ArrowSchema* schema, const ArrowArray* arrays, Py_ssize_t count, Loan* loan, ArrowArrayStream* out,
) noexcept nogil:
    """Fill ``out``; -1 when memory is short.  ``schema`` and ``arrays`` live as long as the loan's owner does."""
    cdef StreamExport* export = <StreamExport*> malloc(sizeof(StreamExport))
    if export == NULL:
        return -1
    fastser_count_up(&loan.count)
    export.loan = loan
    export.schema = schema
    export.arrays = arrays
    export.count = count
    export.next = 0
    out.get_schema = exported_stream_schema
    out.get_next = exported_stream_next
    out.get_last_error = exported_stream_error
    out.release = exported_stream_release
    out.private_data = export
    return 0
