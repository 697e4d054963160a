"""A packed object as one row of Arrow columns, in structs of the Arrow C data interface.

A row is a struct of ``version``, ``flags`` and one list per column.  Everything that its arrays
need (or that its schema needs) is one allocation, which each of them holds a count of, since a consumer
may move any child away and release it on its own: later, on another thread, without the GIL.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastser._core.abi cimport ArrowArray, ArrowSchema
from fastser._core.columns cimport Body, View
from fastser._core.tags cimport *


cdef extern from *:
    """
    #if defined(_MSC_VER)
    #include <intrin.h>
    #define fastser_count_down(count) _InterlockedDecrement64((volatile __int64 *) (count))
    #else
    #define fastser_count_down(count) __atomic_sub_fetch((count), 1, __ATOMIC_ACQ_REL)
    #endif

    #if PY_VERSION_HEX >= 0x030D0000
    #define fastser_finalizing() Py_IsFinalizing()
    #else
    #define fastser_finalizing() _Py_IsFinalizing()
    #endif

    /* What an empty array's buffers point to: its one offset, or nothing at all. */
    static const int64_t fastser_zeros[2] = {0, 0};

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

    /* In the order of the columns; small and large. */
    static const char *const fastser_row_names[] = {
        "version", "flags", "buffers", "i64", "f64", "i32", "text", "data", "i16", "i8", "bits", "tags"};
    static const char *const fastser_item_formats[2][10] = {
        {"vz", "l", "g", "i", "u", "z", "s", "c", "C", "C"},
        {"vz", "l", "g", "i", "U", "Z", "s", "c", "C", "C"}};
    """
    int64_t fastser_count_down(int64_t* count) noexcept nogil
    void fastser_release_owner(PyObject* owner) noexcept nogil
    const int64_t* fastser_zeros
    const char** fastser_row_names
    const char* (*fastser_item_formats)[10]


cdef enum:
    ROW_HEADER = 2                       # version and flags, before the columns
    ROW_CHILDREN = 12
    ROW_PARTS = 23                       # the row, its children and the items of the lists
    VIEW_INLINE_MAX = 12                 # a binary view holds so many bytes itself
    VIEW_CUT = 0x7fffffc0                # a body goes on in the next view after one of so many bytes or more


cdef struct BinaryView:
    int32_t length
    char prefix[4]
    int32_t buffer_index
    int32_t offset


cdef struct SchemaExport:
    int64_t count
    ArrowSchema children[ROW_CHILDREN]
    ArrowSchema items[COLUMN_COUNT]
    ArrowSchema* child_pointers[ROW_CHILDREN]
    ArrowSchema* item_pointers[COLUMN_COUNT]


cdef struct ArrayExport:
    int64_t count
    PyObject* owner                      # strong
    ArrowArray children[ROW_CHILDREN]
    ArrowArray items[COLUMN_COUNT]
    ArrowArray* child_pointers[ROW_CHILDREN]
    ArrowArray* item_pointers[COLUMN_COUNT]
    const void* row_buffers[1]
    const void* child_buffers[ROW_CHILDREN][2]
    const void* item_buffers[COLUMN_COUNT][3]
    int64_t list_offsets[COLUMN_COUNT][2]
    const void** view_buffers            # validity, views, the bodies, their sizes
    int64_t* view_sizes
    BinaryView* views


cdef inline void schema_release(ArrowSchema* schema) noexcept nogil:
    cdef SchemaExport* export = <SchemaExport*> schema.private_data
    cdef int64_t i
    for i in range(schema.n_children):
        if schema.children[i].release != NULL:
            schema.children[i].release(schema.children[i])
    schema.release = NULL
    if fastser_count_down(&export.count) == 0:
        free(export)


cdef inline void array_release(ArrowArray* array) noexcept nogil:
    cdef ArrayExport* export = <ArrayExport*> array.private_data
    cdef int64_t i
    for i in range(array.n_children):
        if array.children[i].release != NULL:
            array.children[i].release(array.children[i])
    array.release = NULL
    if fastser_count_down(&export.count) == 0:
        fastser_release_owner(export.owner)
        array_export_free(export)


cdef inline void array_export_free(ArrayExport* export) noexcept nogil:
    free(export.view_buffers)
    free(export.view_sizes)
    free(export.views)
    free(export)


cdef inline void _schema_set(
    SchemaExport* export, ArrowSchema* schema, const char* format, const char* name,
    int64_t n_children, ArrowSchema** children,
) noexcept nogil:
    # Flags stay 0: nothing is nullable.
    schema.format = format
    schema.name = name
    schema.n_children = n_children
    schema.children = children
    schema.release = schema_release
    schema.private_data = export


cdef inline int schema_export(bint large, ArrowSchema* out) noexcept nogil:
    """Fill ``out``, a zeroed struct, with the schema of rows; -1 when memory is short."""
    cdef SchemaExport* export = <SchemaExport*> calloc(1, sizeof(SchemaExport))
    cdef Py_ssize_t i
    if export == NULL:
        return -1
    export.count = ROW_PARTS
    for i in range(ROW_CHILDREN):
        export.child_pointers[i] = &export.children[i]
        if i < ROW_HEADER:
            _schema_set(export, &export.children[i], "C", fastser_row_names[i], 0, NULL)
    for i in range(COLUMN_COUNT):
        export.item_pointers[i] = &export.items[i]
        _schema_set(export, &export.items[i], fastser_item_formats[large][i], "item", 0, NULL)
        _schema_set(export, &export.children[ROW_HEADER + i], "+L" if large else "+l", fastser_row_names[ROW_HEADER + i],
                    1, &export.item_pointers[i])
    _schema_set(export, out, "+s", "", ROW_CHILDREN, export.child_pointers)
    return 0


cdef inline void _array_set(
    ArrayExport* export, ArrowArray* array, int64_t length, int64_t n_buffers, const void** buffers,
    int64_t n_children, ArrowArray** children,
) noexcept nogil:
    array.length = length
    array.n_buffers = n_buffers
    array.buffers = buffers
    array.n_children = n_children
    array.children = children
    array.release = array_release
    array.private_data = export


cdef inline int _export_bodies(ArrayExport* export, View* view, int64_t* view_count, int64_t* buffer_count) noexcept nogil:
    cdef Py_ssize_t i, count = 0, used = 0
    cdef BinaryView* at
    cdef const char* data
    cdef int64_t size
    cdef int32_t length
    for i in range(view.body_count):
        count += <Py_ssize_t> (view.bodies[i].size // VIEW_CUT) + 1
    view_count[0] = count
    # One more of each than needed: calloc(0) may return NULL.
    export.view_buffers = <const void**> calloc(count + 3, sizeof(void*))
    export.view_sizes = <int64_t*> calloc(count + 1, sizeof(int64_t))
    export.views = at = <BinaryView*> calloc(count + 1, sizeof(BinaryView))
    if export.view_buffers == NULL or export.view_sizes == NULL or export.views == NULL:
        return -1
    for i in range(view.body_count):
        data = view.bodies[i].data
        size = <int64_t> view.bodies[i].size
        while True:
            # A rest that a view would hold itself, apart from the body, belongs to the view before it.
            length = <int32_t> size if size <= VIEW_CUT + VIEW_INLINE_MAX else VIEW_CUT
            at.length = length
            if length <= VIEW_INLINE_MAX:
                if length:
                    memcpy(at.prefix, data, length)
            else:
                memcpy(at.prefix, data, 4)
                at.buffer_index = <int32_t> used
                export.view_buffers[2 + used] = data
                export.view_sizes[used] = length
                used += 1
            at += 1
            if length < VIEW_CUT:
                break
            data += length
            size -= length
    export.view_buffers[1] = export.views
    export.view_buffers[2 + used] = export.view_sizes
    buffer_count[0] = used + 3
    return 0


cdef inline const void* _some(const void* data, Py_ssize_t size) noexcept nogil:
    return data if size else fastser_zeros


cdef inline int array_export(View* view, const uint8_t* version_and_flags, PyObject* owner, ArrowArray* out) noexcept nogil:
    """Fill ``out``, a zeroed struct, with the row; -1 when memory is short, -2 when a small row cannot hold a column.

    On success the row has taken over one reference to ``owner``, which keeps the view's memory.
    """
    cdef ArrayExport* export = <ArrayExport*> calloc(1, sizeof(ArrayExport))
    cdef int64_t lengths[COLUMN_COUNT]
    cdef int64_t n_buffers[COLUMN_COUNT]
    cdef bint large = view.flags & FLAG_LARGE
    cdef Py_ssize_t i
    if export == NULL:
        return -1
    lengths[COLUMN_I64] = view.i64_count
    lengths[COLUMN_F64] = view.f64_count
    lengths[COLUMN_I32] = view.i32_count
    lengths[COLUMN_TEXT] = view.text_count
    lengths[COLUMN_DATA] = view.data_count
    lengths[COLUMN_I16] = view.i16_count
    lengths[COLUMN_I8] = view.i8_count
    lengths[COLUMN_BITS] = view.bits_count
    lengths[COLUMN_TAGS] = view.tag_count
    for i in range(COLUMN_COUNT):
        n_buffers[i] = 2
        if i != COLUMN_BUFFERS and not large and lengths[i] > 0x7fffffff:
            free(export)
            return -2
    if _export_bodies(export, view, &lengths[COLUMN_BUFFERS], &n_buffers[COLUMN_BUFFERS]) < 0:
        array_export_free(export)
        return -1
    export.item_buffers[COLUMN_I64][1] = _some(view.i64, view.i64_count)
    export.item_buffers[COLUMN_F64][1] = _some(view.f64, view.f64_count)
    export.item_buffers[COLUMN_I32][1] = _some(view.i32, view.i32_count)
    export.item_buffers[COLUMN_I16][1] = _some(view.i16, view.i16_count)
    export.item_buffers[COLUMN_I8][1] = _some(view.i8, view.i8_count)
    export.item_buffers[COLUMN_BITS][1] = _some(view.bits, view.bits_count)
    export.item_buffers[COLUMN_TAGS][1] = _some(view.tags, view.tag_count)
    export.item_buffers[COLUMN_TEXT][1] = _some(view.text_offsets, view.text_count)
    export.item_buffers[COLUMN_TEXT][2] = _some(view.text, view.text_size)
    export.item_buffers[COLUMN_DATA][1] = _some(view.data_offsets, view.data_count)
    export.item_buffers[COLUMN_DATA][2] = _some(view.data, view.data_size)
    n_buffers[COLUMN_TEXT] = n_buffers[COLUMN_DATA] = 3

    export.count = ROW_PARTS
    export.owner = owner
    for i in range(ROW_CHILDREN):
        export.child_pointers[i] = &export.children[i]
    for i in range(ROW_HEADER):
        export.child_buffers[i][1] = version_and_flags + i
        _array_set(export, &export.children[i], 1, 2, export.child_buffers[i], 0, NULL)
    for i in range(COLUMN_COUNT):
        if large:
            export.list_offsets[i][1] = lengths[i]
        else:
            (<int32_t*> export.list_offsets[i])[1] = <int32_t> lengths[i]
        export.child_buffers[ROW_HEADER + i][1] = export.list_offsets[i]
        export.item_pointers[i] = &export.items[i]
        _array_set(export, &export.items[i], lengths[i], n_buffers[i],
                   export.view_buffers if i == COLUMN_BUFFERS else export.item_buffers[i], 0, NULL)
        _array_set(export, &export.children[ROW_HEADER + i], 1, 2, export.child_buffers[ROW_HEADER + i],
                   1, &export.item_pointers[i])
    _array_set(export, out, 1, 1, export.row_buffers, ROW_CHILDREN, export.child_pointers)
    return 0
