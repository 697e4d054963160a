"""to_arrow: the run at the root of a frame as an Arrow array, without an object for each item."""

cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from fastser._core.arrow.values cimport bad_offsets, bad_texts
from fastser._core.c.buffer cimport Buffer, buffer_release
from fastser._core.c.capi cimport PY_SSIZE_T_MAX
from fastser._core.c.stack cimport fastser_stack_limit
from fastser._core.decode.identity cimport let_go
from fastser._core.decode.state cimport Decoder, decoder_begin, decoder_release
from fastser._core.decode.walk cimport decode_items, decode_value
from fastser._core.format.columns cimport View
from fastser._core.format.tags cimport FLAG_FOREIGN, FLAG_REFS
from fastser._core.frame.layout cimport FRAME_OK, frame_parse, view_release
from fastser._core.frame.packed cimport Packed, frame_error, packed_view
from fastser._core.frame.rows_in cimport ArrowRow, RowBatch, row_frame, row_view
from fastser._core.frame.source cimport exports_rows, only_row
from fastser._core.tables.calls cimport read_call
from fastser._core.tables.columns cimport Table, make_column
from fastser._core.tables.nodes cimport (
    AT_ITEM, AT_KEY, check_end, Node, NODE_DICT, NODE_LIST, NODE_ROWS, NODE_STRUCT, Nodes, Place, read_node, refuse,
)
from fastser._core.tables.pieces cimport (
    append_piece, Field, Fields, fields_release, flatten, gather_fields, Piece, piece_count, source_of, starts_of,
    without_nulls,
)
from fastser._core.values.arrays cimport fastser_plain_import
from fastser._core.values.text cimport fastser_all_ascii

from fastser import errors as _errors
from fastser._core.arrow.data import ArrowData as _ArrowData

cnp.import_array()
fastser_plain_import()


cdef enum:
    MAX_DEPTH = 1000
    SPREAD = 64               # values that a byte of a frame may become


cdef int check_offsets(Decoder* d) except -1:
    """Every item of text and data lies within its column, and text is UTF-8."""
    cdef View* view = &d.view
    cdef int64_t wrong = -1
    if view.text_count:
        with nogil:
            wrong = bad_items(view.text_offsets, view.text_large, view.text_count, view.text, view.text_size,
                              not fastser_all_ascii(view.text, view.text_size))
        if wrong >= 0:
            raise _errors.bad_frame("rising offsets and UTF-8", "others", f"column text, position {wrong}")
    if view.data_count:
        with nogil:
            wrong = bad_items(view.data_offsets, view.data_large, view.data_count, view.data, view.data_size, False)
        if wrong >= 0:
            raise _errors.bad_frame("rising offsets", "others", f"column data, position {wrong}")
    return 0


cdef int64_t bad_items(
    const void* offsets, bint large, Py_ssize_t count, const char* data, Py_ssize_t size, bint text,
) noexcept nogil:
    """The first position at which offsets, or texts, are wrong, or -1."""
    cdef int64_t wrong
    if large:
        wrong = bad_offsets(<const int64_t*> offsets, 0, count, size)
        if wrong < 0 and text:
            wrong = bad_texts(<const int64_t*> offsets, <const uint8_t*> data, NULL, 0, count)
    else:
        wrong = bad_offsets(<const int32_t*> offsets, 0, count, size)
        if wrong < 0 and text:
            wrong = bad_texts(<const int32_t*> offsets, <const uint8_t*> data, NULL, 0, count)
    return wrong


cdef Node* value_of(Nodes self, Piece* root, Place* place) except NULL:
    """The one value that a piece of one item is; the piece tells which of the node's it is."""
    cdef Buffer flat
    cdef Node* node = NULL
    flat.data = NULL
    flat.size = flat.capacity = 0
    try:
        flatten(self, root, &flat, place)
        if piece_count(&flat):
            root[0] = (<Piece*> flat.data)[0]
            without_nulls(self, root, place)
            if root.count:
                node = root.node
    finally:
        buffer_release(&flat)
    if node == NULL:
        refuse(place, _errors.NO_ROOT)
    return node


cdef int open_list(Nodes self, Piece* piece, Place* place) except -1:
    """Have a piece that is one list be the items of that list."""
    cdef Node* node = value_of(self, piece, place)
    cdef int64_t at = source_of(piece, 0)
    cdef const int64_t* starts
    if node.kind != NODE_LIST:
        refuse(place, _errors.NO_COLUMN)
    starts = starts_of(self, node)
    memset(piece, 0, sizeof(Piece))
    piece.node = node.children[0]
    piece.src_from = starts[at]
    piece.count = starts[at + 1] - starts[at]
    return 0


cdef tuple make_columns(Table self, Piece* root, Place* place):
    """A struct of the lists that a dict holds."""
    cdef Fields fields
    cdef Field* field
    cdef Place below, items
    cdef Py_ssize_t k, n = -1
    cdef Piece* piece
    cdef list children = []
    memset(&fields, 0, sizeof(Fields))
    below.up = place
    below.kind = AT_KEY
    items.up = &below
    items.kind = AT_ITEM
    try:
        gather_fields(self.nodes, root, &fields, place)
        for k in range(<Py_ssize_t> (fields.fields.size // sizeof(Field))):
            field = <Field*> fields.fields.data + k
            below.name = field.name
            if piece_count(&field.pieces) == 0:
                continue    # a key of another dict of the run that the one at the root is taken from
            piece = <Piece*> field.pieces.data
            open_list(self.nodes, piece, &below)
            if n >= 0 and piece.count != n:
                refuse(&below, _errors.uneven_columns(piece.count, n))
            n = piece.count
            name = field.name.data[:field.name.size].decode("utf-8")
            children.append(make_column(self, &field.pieces, n, name, &items, 1))
    finally:
        fields_release(&fields)
    if n < 0:
        refuse(place, _errors.NO_ROOT)
    return (("+s", "", None, 0, tuple([child[0] for child in children]), None),
            (n, 0, 0, (0,), tuple([child[1] for child in children]), None))


cdef tuple make_root(Table self):
    cdef Place items
    cdef Piece root
    cdef Buffer pieces
    cdef Node* node
    cdef Py_ssize_t j
    memset(&root, 0, sizeof(Piece))
    items.up = NULL
    items.kind = AT_ITEM
    root.node = read_node(self.nodes, 1, NULL)
    root.count = 1
    check_end(self.nodes)
    node = value_of(self.nodes, &root, NULL)
    if node.kind == NODE_STRUCT or node.kind == NODE_DICT:
        return make_columns(self, &root, NULL)
    pieces.data = NULL
    pieces.size = pieces.capacity = 0
    try:
        if node.kind == NODE_ROWS:
            for j in range(node.count):
                root.node = node.children[j]
                root.dst_from = j
                root.dst = NULL
                append_piece(&pieces, &root)
            return make_column(self, &pieces, node.count, "", &items, 0)
        if node.kind != NODE_LIST:
            refuse(NULL, _errors.NO_ROOT)
        open_list(self.nodes, &root, NULL)
        append_piece(&pieces, &root)
        return make_column(self, &pieces, root.count, "", &items, 0)
    finally:
        buffer_release(&pieces)


cdef object convert(Decoder* d, object owner, bint exact, bint nan_is_null):
    """The ArrowData of what d.view holds; ``owner`` keeps its memory alive."""
    cdef Nodes nodes = Nodes()
    cdef Table table = Table()
    cdef list found = []
    decoder_begin(d)
    d.at = d.view.tags
    d.end = d.view.tags + d.view.tag_count
    d.budget = d.view.frame_size * 8 if d.view.frame_size <= PY_SSIZE_T_MAX // 8 else PY_SSIZE_T_MAX
    d.max_depth = MAX_DEPTH
    d.hooks = NULL
    d.inspect = <PyObject*> found     # so that nothing is imported or called
    d.allowed = NULL
    d.stack_limit = fastser_stack_limit()
    d.owner = <PyObject*> owner
    d.writable = False
    d.safe = True
    d.shares = d.has_refs = d.view.flags & FLAG_REFS
    d.foreign = d.exposed = d.view.flags & FLAG_FOREIGN
    d.walk_value = decode_value
    d.walk_items = decode_items
    nodes.d = d
    nodes.walk_calls = read_call
    nodes.room = (d.view.frame_size + (1 << 14)) * SPREAD
    table.nodes = nodes
    table.exact = exact
    table.nan_is_null = nan_is_null
    try:
        check_offsets(d)
        schema, array = make_root(table)
    except Exception as error:
        let_go(d)
        if isinstance(error, (_errors.FastserError, MemoryError)):
            raise
        raise _errors.cannot_rebuild("a value", error, f"tag {d.at - d.view.tags}") from error
    finally:
        nodes.d = NULL
        decoder_release(d)
    return _ArrowData.from_parts(("array", schema, (array,)), table.buffers)


def to_arrow(data, *, bint exact=False, bint nan_is_null=False):
    """The list at the root of a frame as Arrow data, without a Python object for each of its items.

    A list of dicts, of instances, of named tuples or of rows is a struct array, which engines take as a table; a dict of lists or
    of arrays of one length is the same; any other list is an array of its values. Columns are the frame's own memory
    where they lie there as Arrow has them.

    Parameters
    ----------
    data : bytes-like, Packed, or a producer of one Arrow row
        As for loads. It stays alive for as long as what was made of it, and must not change.
    exact : bool
        Integers keep the width that they have in the frame, and text that repeats becomes a dictionary array. By default
        integers have 64 bits and text is plain, so that the schema tells the types of the values and nothing else of them.
    nan_is_null : bool
        NaN among values that are no numbers, as pandas has it in columns of text, is a null. By default it is a mixture, and an error.

    Returns
    -------
    ArrowData

    Raises
    ------
    EncodeError
        There is no list at the root, or Arrow cannot express a column; the message tells its path and the reason.
    DecodeError
        The bytes are not one whole frame.

    Notes
    -----
    Nothing is imported or called, but time zones are looked up.

    Examples
    --------
    >>> import fastser
    >>> frame = fastser.dumps([{"id": 1, "name": "Ada"}, {"id": 2, "name": None}])
    >>> table = fastser.to_arrow(frame)
    >>> table.kind, len(table)
    ('array', 2)
    """
    cdef Decoder d
    cdef Py_buffer buffer
    cdef int status
    cdef ArrowRow row
    cdef RowBatch batch
    cdef const char* frame = NULL
    cdef Py_ssize_t size = 0
    memset(&d.view, 0, sizeof(View))
    d.copied = NULL
    if type(data) is Packed:
        try:
            packed_view(<Packed> data, &d.view)
            return convert(&d, data, exact, nan_is_null)
        finally:
            view_release(&d.view, NULL)
    try:
        view = memoryview(data)
    except TypeError:
        if not exports_rows(data):
            raise _errors.not_readable(data) from None
        view = None
    if view is None:
        batch = only_row(data)
        if batch.schema.frames:
            row = row_frame(batch, 0, &frame, &size)
            return to_arrow(frame[:size], exact=exact, nan_is_null=nan_is_null)
        try:
            row = row_view(batch, 0, &d.view)
            return convert(&d, row, exact, nan_is_null)
        finally:
            view_release(&d.view, NULL)
    PyObject_GetBuffer(view, &buffer, PyBUF_SIMPLE)
    try:
        status = frame_parse(<const char*> buffer.buf, buffer.len, &d.view, &d.copied)
        if status == FRAME_OK and d.copied == NULL:
            return convert(&d, view, exact, nan_is_null)
        view_release(&d.view, d.copied)
        memset(&d.view, 0, sizeof(View))
        d.copied = NULL
        if status != FRAME_OK:
            raise frame_error(status, <const char*> buffer.buf, buffer.len)
        # Its columns are not aligned.
        return to_arrow(bytes(view), exact=exact, nan_is_null=nan_is_null)
    finally:
        view_release(&d.view, d.copied)
        PyBuffer_Release(&buffer)
