"""Arrow structs lent to consumers: copies of a tree of structs, over the same buffers, which an owner keeps.

All structs of one copy are one allocation with a count of those that are alive in it, since a consumer may move any child
away and release it on its own: later, on another thread, without the GIL.  Only the end of the last one asks for the GIL.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastser._core.arrow.abi cimport ArrowArray, ArrowArrayStream, ArrowSchema


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #include <intrin.h>
    #define fastser_count_up(count) _InterlockedIncrement64((volatile __int64 *) (count))
    #define fastser_count_down(count) _InterlockedDecrement64((volatile __int64 *) (count))
    #else
    #define fastser_count_up(count) __atomic_add_fetch((count), 1, __ATOMIC_RELAXED)
    #define fastser_count_down(count) __atomic_sub_fetch((count), 1, __ATOMIC_ACQ_REL)
    #endif

    #if PY_VERSION_HEX >= 0x030D0000
    #define fastser_finalizing() Py_IsFinalizing()
    #else
    #define fastser_finalizing() _Py_IsFinalizing()
    #endif

    /* From any thread, with or without the GIL.  A thread that asks for the GIL while the interpreter
       ends never comes back, and afterwards there is none: then the object is left to the system. */
    static inline void fastser_release_owner(PyObject *owner) {
        PyGILState_STATE state;
        if (!Py_IsInitialized() || (fastser_finalizing() && !PyGILState_Check()))
            return;
        state = PyGILState_Ensure();
        Py_DECREF(owner);
        PyGILState_Release(state);
    }
    """
    int64_t fastser_count_up(int64_t* count) noexcept nogil
    int64_t fastser_count_down(int64_t* count) noexcept nogil
    bint fastser_finalizing() noexcept nogil
    void fastser_release_owner(PyObject* owner) noexcept nogil


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


cdef inline Loan* lend_of(object owner) except NULL:
    """A loan of what `owner` has, which the caller ends."""
    cdef Loan* loan = <Loan*> malloc(sizeof(Loan))
    if loan == NULL:
        raise MemoryError()
    loan.count = 1
    loan.owner = <PyObject*> owner
    Py_INCREF(owner)
    return loan


# --- schemas and arrays ----------------------------------------------------------------------------------------------


ctypedef fused Exported:
    ArrowSchema
    ArrowArray


cdef inline void _release(Exported* exported) noexcept nogil:
    cdef ExportBlock* block = <ExportBlock*> exported.private_data
    cdef int64_t i
    for i in range(exported.n_children):
        if exported.children[i].release != NULL:
            exported.children[i].release(exported.children[i])
    if exported.dictionary != NULL and exported.dictionary.release != NULL:
        exported.dictionary.release(exported.dictionary)
    exported.release = NULL
    if fastser_count_down(&block.count) == 0:
        loan_end(block.loan)
        free(block)


cdef inline void exported_schema_release(ArrowSchema* schema) noexcept nogil:
    _release(schema)


cdef inline void exported_array_release(ArrowArray* array) noexcept nogil:
    _release(array)


cdef inline void _measure(const Exported* source, size_t* structs, size_t* pointers) noexcept nogil:
    cdef int64_t i
    structs[0] += 1
    pointers[0] += <size_t> source.n_children
    for i in range(source.n_children):
        _measure(source.children[i], structs, pointers)
    if source.dictionary != NULL:
        _measure(source.dictionary, structs, pointers)


cdef inline void _copy(
    const Exported* source, Exported* out, ExportBlock* block, Exported** structs, Exported*** pointers,
) noexcept nogil:
    # The buffers of arrays and the texts of schemas are the source's own: they live as long as it does.
    cdef int64_t i
    out[0] = source[0]
    if Exported is ArrowSchema:
        out.release = exported_schema_release
    else:
        out.release = exported_array_release
    out.private_data = block
    out.children = pointers[0] if source.n_children else NULL
    pointers[0] += source.n_children
    for i in range(source.n_children):
        out.children[i] = structs[0]
        structs[0] += 1
        _copy(source.children[i], out.children[i], block, structs, pointers)
    if source.dictionary != NULL:
        out.dictionary = structs[0]
        structs[0] += 1
        _copy(source.dictionary, out.dictionary, block, structs, pointers)


cdef inline int export(const Exported* source, Loan* loan, Exported* out) noexcept nogil:
    """Fill ``out``; -1 when memory is short.  Holds the loan itself, so the caller's part of it stays the caller's."""
    cdef size_t count = 0, pointer_count = 0
    cdef ExportBlock* block
    cdef Exported* structs
    cdef Exported** pointers
    _measure(source, &count, &pointer_count)
    block = <ExportBlock*> malloc(sizeof(ExportBlock) + (count - 1) * sizeof(Exported) + pointer_count * sizeof(void*))
    if block == NULL:
        return -1
    block.count = <int64_t> count
    block.loan = loan
    fastser_count_up(&loan.count)
    structs = <Exported*> (block + 1)
    pointers = <Exported**> (structs + count - 1)
    _copy(source, out, block, &structs, &pointers)
    return 0


# --- streams ---------------------------------------------------------------------------------------------------------


cdef inline int exported_stream_schema(ArrowArrayStream* stream, ArrowSchema* out) noexcept nogil:
    cdef StreamExport* state = <StreamExport*> stream.private_data
    return ENOMEM if export(state.schema, state.loan, out) < 0 else 0


cdef inline int exported_stream_next(ArrowArrayStream* stream, ArrowArray* out) noexcept nogil:
    cdef StreamExport* state = <StreamExport*> stream.private_data
    if state.next == state.count:
        memset(out, 0, sizeof(ArrowArray))   # released: the end
        return 0
    if export(&state.arrays[state.next], state.loan, out) < 0:
        return ENOMEM
    state.next += 1
    return 0


cdef inline const char* exported_stream_error(ArrowArrayStream* stream) noexcept nogil:
    return "memory is short"


cdef inline void exported_stream_release(ArrowArrayStream* stream) noexcept nogil:
    cdef StreamExport* state = <StreamExport*> stream.private_data
    stream.release = NULL
    loan_end(state.loan)
    free(state)


cdef inline int export_stream(
    const ArrowSchema* schema, const ArrowArray* arrays, Py_ssize_t count, Loan* loan, ArrowArrayStream* out,
) noexcept nogil:
    """Fill ``out``; -1 when memory is short.  ``schema`` and ``arrays`` live as long as the loan's owner does."""
    cdef StreamExport* state = <StreamExport*> malloc(sizeof(StreamExport))
    if state == NULL:
        return -1
    fastser_count_up(&loan.count)
    state.loan = loan
    state.schema = schema
    state.arrays = arrays
    state.count = count
    state.next = 0
    out.get_schema = exported_stream_schema
    out.get_next = exported_stream_next
    out.get_last_error = exported_stream_error
    out.release = exported_stream_release
    out.private_data = state
    return 0
