"""Packed objects as rows of Arrow columns, in structs of the Arrow C data interface.

A row is a struct of ``version``, ``flags`` and one list per column.  Everything that the arrays of rows
need (or that their schema needs) is one allocation, which each of them holds a count of, since a consumer
may move any child away and release it on its own: later, on another thread, without the GIL.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema, BinaryView, VIEW_INLINE_MAX
from fastser._core.arrow.lend cimport fastser_count_down, fastser_release_owner
from fastser._core.format.columns cimport Body, View
from fastser._core.format.tags cimport *


cdef extern from *:
    """
    /* What an empty array's buffers point to: its one offset, or nothing at all. */
    static const int64_t fastser_zeros[2] = {0, 0};

    /* In the order of the columns; small and large. */
    static const char *const fastser_row_names[] = {
        "version", "flags", "buffers", "i64", "f64", "i32", "text", "data", "i16", "i8", "bits", "tags"};
    static const char *const fastser_item_formats[2][10] = {
        {"vz", "l", "g", "i", "u", "z", "s", "c", "C", "C"},
        {"vz", "l", "g", "i", "U", "Z", "s", "c", "C", "C"}};
    """
    const int64_t* fastser_zeros
    const char** fastser_row_names
    const char* (*fastser_item_formats)[10]


cdef enum:
    ROW_HEADER = 2                       # version and flags, before the columns
    ROW_CHILDREN = 12
    ROW_PARTS = 23                       # the row, its children and the items of the lists
    VIEW_CUT = 0x7fffffc0                # a body goes on in the next view after one of so many bytes or more


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
    int64_t list_offsets[COLUMN_COUNT][2]    # of a single row
    const void** view_buffers            # validity, views, the bodies, their sizes
    int64_t* view_sizes                  # of a single row, as are the views
    BinaryView* views


cdef struct RowArrays:
    # What an export hands out, which the owner keeps.
    int64_t rows
    const void* headers[ROW_HEADER]
    const void* list_offsets[COLUMN_COUNT]
    int64_t items[COLUMN_COUNT]
    const void* values[COLUMN_COUNT]     # or the offsets of text and binaries
    const char* contents[COLUMN_COUNT]   # of text and binaries
    const void** view_buffers            # malloc'ed; the export takes them over; NULL: bodies are binaries with 64-bit offsets
    int64_t view_buffer_count


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


cdef inline int schema_export(bint large, bint copied, ArrowSchema* out) noexcept nogil:
    """Fill ``out``, a zeroed struct, with the schema of rows, whose bodies are views or copied; -1 when memory is short."""
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
    if copied:
        export.items[COLUMN_BUFFERS].format = "Z"
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


cdef inline Py_ssize_t view_room(uint64_t size) noexcept nogil:
    """How many views a body may take."""
    return <Py_ssize_t> (size // VIEW_CUT) + 1


cdef inline void put_views(
    const Body* body, BinaryView* views, Py_ssize_t* count, const void** buffers, int64_t* sizes, Py_ssize_t* used,
) noexcept nogil:
    """Append the views of one body, behind ``count`` of them, and the buffers that they point into, behind ``used``."""
    cdef const char* data = body.data
    cdef int64_t size = <int64_t> body.size
    cdef int32_t length
    cdef BinaryView* at
    while True:
        # A rest that a view would hold itself, apart from the body, belongs to the view before it.
        length = <int32_t> size if size <= VIEW_CUT + VIEW_INLINE_MAX else VIEW_CUT
        at = &views[count[0]]
        memset(at, 0, sizeof(BinaryView))
        at.length = length
        if length <= VIEW_INLINE_MAX:
            if length:
                memcpy(at.prefix, data, length)
        else:
            memcpy(at.prefix, data, 4)
            at.buffer_index = <int32_t> used[0]
            buffers[used[0]] = data
            sizes[used[0]] = length
            used[0] += 1
        count[0] += 1
        if length < VIEW_CUT:
            return
        data += length
        size -= length


cdef inline int _export_bodies(ArrayExport* export, View* view, Py_ssize_t* count, Py_ssize_t* used) noexcept nogil:
    cdef Py_ssize_t i, room = 0
    for i in range(view.body_count):
        room += view_room(view.bodies[i].size)
    # One more of each than needed: calloc(0) may return NULL.
    export.view_buffers = <const void**> calloc(room + 3, sizeof(void*))
    export.view_sizes = <int64_t*> calloc(room + 1, sizeof(int64_t))
    export.views = <BinaryView*> calloc(room + 1, sizeof(BinaryView))
    if export.view_buffers == NULL or export.view_sizes == NULL or export.views == NULL:
        return -1
    for i in range(view.body_count):
        put_views(&view.bodies[i], export.views, count, export.view_buffers + 2, export.view_sizes, used)
    export.view_buffers[1] = export.views
    export.view_buffers[2 + used[0]] = export.view_sizes
    return 0


cdef inline void _export(ArrayExport* export, RowArrays* arrays, PyObject* owner, ArrowArray* out) noexcept nogil:
    cdef int64_t n_buffers
    cdef bint viewed
    cdef Py_ssize_t i
    export.count = ROW_PARTS
    export.owner = owner
    export.view_buffers = arrays.view_buffers
    for i in range(ROW_CHILDREN):
        export.child_pointers[i] = &export.children[i]
    for i in range(ROW_HEADER):
        export.child_buffers[i][1] = arrays.headers[i]
        _array_set(export, &export.children[i], arrays.rows, 2, export.child_buffers[i], 0, NULL)
    for i in range(COLUMN_COUNT):
        n_buffers = 2
        viewed = i == COLUMN_BUFFERS and arrays.view_buffers != NULL
        if viewed:
            n_buffers = arrays.view_buffer_count
        else:
            export.item_buffers[i][1] = fastser_zeros if arrays.items[i] == 0 else arrays.values[i]
            if i == COLUMN_TEXT or i == COLUMN_DATA or i == COLUMN_BUFFERS:
                export.item_buffers[i][2] = <const void*> fastser_zeros if arrays.contents[i] == NULL else arrays.contents[i]
                n_buffers = 3
        export.child_buffers[ROW_HEADER + i][1] = arrays.list_offsets[i]
        export.item_pointers[i] = &export.items[i]
        _array_set(export, &export.items[i], arrays.items[i], n_buffers,
                   export.view_buffers if viewed else export.item_buffers[i], 0, NULL)
        _array_set(export, &export.children[ROW_HEADER + i], arrays.rows, 2, export.child_buffers[ROW_HEADER + i],
                   1, &export.item_pointers[i])
    _array_set(export, out, arrays.rows, 1, export.row_buffers, ROW_CHILDREN, export.child_pointers)


cdef inline int rows_export(RowArrays* arrays, PyObject* owner, ArrowArray* out) noexcept nogil:
    """Fill ``out``, a zeroed struct, with rows; -1 when memory is short.

    On success the rows have taken over one reference to ``owner``, which keeps what ``arrays`` points to, and its view_buffers.
    """
    cdef ArrayExport* export = <ArrayExport*> calloc(1, sizeof(ArrayExport))
    if export == NULL:
        return -1
    _export(export, arrays, owner, out)
    return 0


cdef inline int array_export(View* view, const uint8_t* version_and_flags, PyObject* owner, ArrowArray* out) noexcept nogil:
    """rows_export of one row; -2 when a small row cannot hold a column."""
    cdef ArrayExport* export = <ArrayExport*> calloc(1, sizeof(ArrayExport))
    cdef RowArrays arrays
    cdef bint large = view.flags & FLAG_LARGE
    cdef Py_ssize_t i, view_count = 0, used = 0
    if export == NULL:
        return -1
    memset(&arrays, 0, sizeof(RowArrays))
    arrays.rows = 1
    arrays.headers[0] = version_and_flags
    arrays.headers[1] = version_and_flags + 1
    arrays.items[COLUMN_I64] = view.i64_count
    arrays.items[COLUMN_F64] = view.f64_count
    arrays.items[COLUMN_I32] = view.i32_count
    arrays.items[COLUMN_TEXT] = view.text_count
    arrays.items[COLUMN_DATA] = view.data_count
    arrays.items[COLUMN_I16] = view.i16_count
    arrays.items[COLUMN_I8] = view.i8_count
    arrays.items[COLUMN_BITS] = view.bits_count
    arrays.items[COLUMN_TAGS] = view.tag_count
    for i in range(COLUMN_COUNT):
        if i != COLUMN_BUFFERS and not large and arrays.items[i] > 0x7fffffff:
            free(export)
            return -2
    if _export_bodies(export, view, &view_count, &used) < 0:
        array_export_free(export)
        return -1
    arrays.items[COLUMN_BUFFERS] = view_count
    arrays.view_buffers = export.view_buffers
    arrays.view_buffer_count = used + 3
    arrays.values[COLUMN_I64] = view.i64
    arrays.values[COLUMN_F64] = view.f64
    arrays.values[COLUMN_I32] = view.i32
    arrays.values[COLUMN_I16] = view.i16
    arrays.values[COLUMN_I8] = view.i8
    arrays.values[COLUMN_BITS] = view.bits
    arrays.values[COLUMN_TAGS] = view.tags
    arrays.values[COLUMN_TEXT] = view.text_offsets
    arrays.values[COLUMN_DATA] = view.data_offsets
    if view.text_size:
        arrays.contents[COLUMN_TEXT] = view.text
    if view.data_size:
        arrays.contents[COLUMN_DATA] = view.data
    for i in range(COLUMN_COUNT):
        if large:
            export.list_offsets[i][1] = arrays.items[i]
        else:
            (<int32_t*> export.list_offsets[i])[1] = <int32_t> arrays.items[i]
        arrays.list_offsets[i] = export.list_offsets[i]
    _export(export, &arrays, owner, out)
    return 0
