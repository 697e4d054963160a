"""The state of one call of the decoder: cursors into the columns, and what the frame refers back to."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free

from fastser._core.c.buffer cimport Buffer
from fastser._core.c.capi cimport fastser_collector_pause, fastser_collector_resume, fastser_xdecref
from fastser._core.c.memo cimport Memo, memo_release
from fastser._core.c.refs cimport slots_free
from fastser._core.c.stack cimport uintptr_t
from fastser._core.format.columns cimport View


cdef struct ShapeSeen:
    Py_ssize_t first          # its first key's place in `text`
    Py_ssize_t count
    PyObject* template        # a dict of the keys and None; NULL until the shape is used again; strong
    PyObject* names           # a tuple of the keys, interned; NULL until instances have them; strong


cdef struct OpenTuples:
    Py_ssize_t first          # number of the first
    Py_ssize_t count
    OpenTuples* next


cdef struct Hashing:
    Memo sizes                # of tuples and frozensets, items of items counted; the keys are strong references
    Memo reopened             # tuples that were referred to before they were full
    uint64_t left             # how many more items may be hashed
    int through_instances     # a hash looks at the fields of instances


cdef struct Decoder:
    View view
    char* copied              # the head, where it was not aligned; malloc'ed
    const uint8_t* at         # the next tag
    const uint8_t* end
    Py_ssize_t i8
    Py_ssize_t i16
    Py_ssize_t i32
    Py_ssize_t i64
    Py_ssize_t f64
    Py_ssize_t bits
    Py_ssize_t text
    Py_ssize_t data
    Py_ssize_t body
    Py_ssize_t budget         # items that the frame's bytes can still back
    Py_ssize_t depth
    Py_ssize_t max_depth
    uintptr_t stack_limit
    PyObject** refs           # numbered objects; strong; NULL where one is not complete yet
    Py_ssize_t ref_count
    Py_ssize_t ref_capacity
    PyObject** texts          # items of text that are referred to, made lazily; strong
    PyObject** bodies         # long texts and bytes, made lazily; strong
    Buffer shapes             # of ShapeSeen
    PyObject* dtypes          # a list, or NULL; strong
    PyObject* text_parts      # a dict of where dtypes hold text, by their ids, or NULL; strong
    PyObject* callables       # a list of classes and other callables, or NULL; strong
    PyObject* found           # the name of the last object that was found by its name and is no class, or NULL; strong
    PyObject* allowed         # what safe=True may rebuild, see inspection.check; NULL: everything; borrowed
    int calling               # what is read next is found by its name, and makes something
    PyObject* hooks           # a dict of names to hooks; borrowed
    PyObject* inspect         # a list of stand-ins for what would run Python code, which are all that is made; or NULL; borrowed
    # Whose memory it is, and what is to be written to: see the table in docs/writable.md.
    PyObject* owner           # what the memory belongs to; the base of views; borrowed
    PyObject* private         # lends the memory for writing, as nobody else has it; NULL: what is to be written to is copied; borrowed
    int writable              # views may be written to
    int views                 # everything is a view, and nothing may be written to
    int copies                # how many tables are being read that write in place
    PyObject* block           # where all bodies are copied to, or NULL: an array; strong
    char** places             # ... each of them; malloc'ed
    int safe                  # the frame may be anybody's: what is usually trusted is looked at too
    OpenTuples* open          # the tuples that are being filled, innermost first
    Hashing* hashing          # NULL until a key needs a look before it is hashed
    int shares                # what a key holds may be met twice
    int has_refs
    int foreign               # user code may run
    int exposed               # user code or other threads may run
    int inside                # a dtype's description or a zone, which are no levels of the user's
    int tree                  # a description of Arrow data, of which each part occurs once
    int text_is_ascii         # the whole column; -1 not looked at
    int collector             # it is paused, see user_code
    # The walk itself, for what holds objects but is read elsewhere.
    PyObject* (*walk_value)(Decoder* d) except NULL
    int (*walk_items)(Decoder* d, PyObject** out, Py_ssize_t n) except -1


cdef inline void decoder_begin(Decoder* d) noexcept nogil:
    """Ready for a walk over d.view, whose cursors are still to be set."""
    d.i8 = d.i16 = d.i32 = d.i64 = d.f64 = d.bits = d.text = d.data = d.body = 0
    d.depth = 0
    d.collector = 0
    d.inside = 0
    d.tree = 0
    d.refs = NULL
    d.ref_count = d.ref_capacity = 0
    d.texts = NULL
    d.bodies = NULL
    d.dtypes = NULL
    d.text_parts = NULL
    d.callables = NULL
    d.found = NULL
    d.calling = 0
    d.open = NULL
    d.hashing = NULL
    d.shapes.data = NULL
    d.shapes.size = d.shapes.capacity = 0
    d.text_is_ascii = -1
    d.private = NULL
    d.views = 0
    d.copies = 0
    d.block = NULL
    d.places = NULL


cdef inline void user_code_begins(Decoder* d) noexcept:
    """The collector is not to be found paused."""
    fastser_collector_resume(d.collector)
    d.collector = 0


cdef inline void user_code_ends(Decoder* d) noexcept:
    d.collector = fastser_collector_pause()


cdef inline void sizes_clear(Hashing* hashing) noexcept:
    cdef size_t i
    if hashing.sizes.count:
        for i in range(hashing.sizes.mask + 1):
            fastser_xdecref(<PyObject*> hashing.sizes.entries[i].key)
    memo_release(&hashing.sizes)


cdef inline void decoder_release(Decoder* d) noexcept:
    cdef Py_ssize_t i
    if d.refs != NULL:
        for i in range(d.ref_count):
            fastser_xdecref(d.refs[i])
        free(d.refs)
    if d.texts != NULL:
        slots_free(d.texts, d.view.text_count)
    if d.bodies != NULL:
        slots_free(d.bodies, d.view.body_count)
    if d.shapes.data != NULL:
        for i in range(<Py_ssize_t> (d.shapes.size // sizeof(ShapeSeen))):
            fastser_xdecref((<ShapeSeen*> d.shapes.data)[i].template)
            fastser_xdecref((<ShapeSeen*> d.shapes.data)[i].names)
        free(d.shapes.data)
    if d.hashing != NULL:
        sizes_clear(d.hashing)
        memo_release(&d.hashing.reopened)
        free(d.hashing)
    fastser_xdecref(d.dtypes)
    fastser_xdecref(d.text_parts)
    fastser_xdecref(d.callables)
    fastser_xdecref(d.found)
    if d.places != NULL:
        free(d.places)
        fastser_xdecref(d.block)
