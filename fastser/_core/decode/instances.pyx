"""Instances of users' classes from their fields, and named tuples.  No code of theirs runs, unless their class asks for it."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport new_reference, slots_free, slots_new
from fastser._core.classes.plans cimport PLAN_FIELDS, PLAN_ROWS, ClassPlan
from fastser._core.decode.columns cimport CHUNK, Column, columns_free, open_columns, read_columns
from fastser._core.decode.errors cimport bad, unbacked
from fastser._core.decode.identity cimport hide, number, set_number, show
from fastser._core.decode.names cimport check_fields, class_plan, read_callable, refuse, stand_in
from fastser._core.decode.parts cimport set_state
from fastser._core.decode.read cimport claim, descend, read_count, read_varint
from fastser._core.decode.shapes cimport names_of, read_shape
from fastser._core.decode.state cimport Decoder, OpenTuples, ShapeSeen, user_code_begins, user_code_ends

from fastser import errors as _errors


cdef extern from *:
    """
    /* What object.__new__ makes: the class has none of its own. */
    static inline PyObject *fastser_new_instance(PyObject *cls) {
        static PyObject *empty = NULL;
        if (empty == NULL && (empty = PyTuple_New(0)) == NULL)
            return NULL;
        return PyBaseObject_Type.tp_new((PyTypeObject *) cls, empty, NULL);
    }

    /* A tuple of a subclass, still empty: tp_alloc fills it with zeros, and 0 counts as a hash that is known. */
    static inline PyObject *fastser_new_row(PyObject *cls, Py_ssize_t width) {
        PyObject *o = ((PyTypeObject *) cls)->tp_alloc((PyTypeObject *) cls, width);
        if (o != NULL)
            fastser_forget_hash(o);
        return o;
    }

    /* Whether a name means something to the class, so that setting the attribute might not set the field; -1 with an exception. */
    static int fastser_class_has(PyObject *cls, PyObject *name) {
        PyObject *mro = ((PyTypeObject *) cls)->tp_mro;
        Py_ssize_t i;
        int found = PyUnicode_GET_LENGTH(name) >= 2 && PyUnicode_READ_CHAR(name, 0) == '_' && PyUnicode_READ_CHAR(name, 1) == '_';
        for (i = 0; !found && i < PyTuple_GET_SIZE(mro); i++) {
            PyTypeObject *base = (PyTypeObject *) PyTuple_GET_ITEM(mro, i);
            if (base != &PyBaseObject_Type)
                found = base->tp_dict == NULL ? 1 : PyDict_Contains(base->tp_dict, name);
        }
        return found;
    }
    """
    PyObject* fastser_new_instance(PyObject* cls) except NULL
    PyObject* fastser_new_row(PyObject* cls, Py_ssize_t width) except NULL
    bint fastser_class_has(PyObject* cls, PyObject* name) except -1
    # New reference.
    PyObject* instance_dict "PyObject_GenericGetDict"(PyObject* o, void* context) except NULL
    int set_attribute "PyObject_GenericSetAttr"(PyObject* o, PyObject* name, PyObject* value) except -1


cdef struct Fields:
    # Where the values of instances go.
    PyObject* cls             # borrowed
    PyObject* names           # a tuple; borrowed
    Py_ssize_t count
    Py_ssize_t slots          # so many of them
    Py_ssize_t* offsets       # in an instance, -1 in its __dict__; NULL: the class has a protocol of its own, and is given a state
    bint plain                # those of the __dict__ are attributes that the class knows nothing of


cdef int open_fields(Decoder* d, Fields* fields) except -1:
    """Where the fields lie in instances of the class; free takes the offsets."""
    cdef ClassPlan plan = class_plan(d, fields.cls)
    cdef Py_ssize_t i, j
    cdef PyObject* name
    fields.offsets = NULL
    fields.plain = True
    check_fields(d, fields.cls)
    if plan.kind != PLAN_FIELDS:
        return refuse(d, fields.cls)
    fields.offsets = <Py_ssize_t*> malloc((fields.count + 1) * sizeof(Py_ssize_t))
    if fields.offsets == NULL:
        raise MemoryError()
    for i in range(fields.count):
        # A slot may have become an attribute since, or the other way: cloudpickle gives classes that go by value no slots again.
        name = fastser_tuple_items(fields.names)[i]
        fields.offsets[i] = -1
        for j in range(plan.slot_count):
            if fastser_tuple_items(<PyObject*> plan.slot_names)[j] == name:    # both are interned
                fields.offsets[i] = plan.slot_offsets[j]
                break
        else:
            if not plan.has_dict:
                raise _errors.lost_field(<object> fields.cls, <object> name, f"tag {d.at - d.view.tags}")
            fields.plain = fields.plain and not fastser_class_has(fields.cls, name)
    return 0


cdef PyObject* new_instance(Decoder* d, Fields* fields) except NULL:
    """New reference: an instance without fields."""
    cdef object o
    if fields.offsets != NULL:
        return fastser_new_instance(fields.cls)
    user_code_begins(d)
    try:
        o = (<object> fields.cls).__new__(<object> fields.cls)
    except Exception as error:
        raise _errors.cannot_rebuild(f"a {_errors.class_name(<object> fields.cls)}", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return new_reference(o)


cdef int fill_instance(Decoder* d, Fields* fields, PyObject* o, PyObject** values, Py_ssize_t stride) except -1:
    """Steals the values."""
    cdef Py_ssize_t i
    cdef PyObject** slot
    cdef PyObject* old
    cdef PyObject* name
    cdef PyObject* dictionary = NULL
    if fields.offsets == NULL:
        return give_state(d, fields, o, values, stride)
    try:
        for i in range(fields.count):
            if fields.offsets[i] >= 0:
                slot = <PyObject**> (<char*> o + fields.offsets[i])
                old = slot[0]
                slot[0] = values[i * stride]
                values[i * stride] = NULL
                fastser_xdecref(old)
                continue
            name = fastser_tuple_items(fields.names)[i]
            if fields.plain:
                set_attribute(o, name, values[i * stride])
            else:
                if dictionary == NULL:
                    dictionary = instance_dict(o, NULL)
                dict_set(dictionary, name, values[i * stride])
            fastser_decref(values[i * stride])
            values[i * stride] = NULL
    finally:
        fastser_xdecref(dictionary)
    return 0


cdef int give_state(Decoder* d, Fields* fields, PyObject* o, PyObject** values, Py_ssize_t stride) except -1:
    """As pickle does, where the class is no longer what it was when the instance was packed."""
    cdef Py_ssize_t i
    cdef dict attributes = {}, slots = {}
    for i in range(fields.count):
        (slots if i < fields.slots else attributes)[<object> fastser_tuple_items(fields.names)[i]] = <object> values[i * stride]
    user_code_begins(d)
    try:
        set_state(<object> o, (attributes, slots) if slots else attributes)
    except Exception as error:
        raise _errors.cannot_rebuild(f"a {_errors.class_name(<object> fields.cls)}", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    return 0


cdef int rebuild_instances(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, start, m, count = 0, chunk = min(n, <Py_ssize_t> CHUNK), first = number(d, n)
    cdef uint64_t form = read_varint(d)
    cdef ShapeSeen* shape
    cdef Fields fields
    cdef PyObject** scratch = NULL
    cdef Column* columns = NULL
    fields.count = 0
    fields.names = NULL
    if form:
        shape = read_shape(d)
        fields.names = names_of(d, shape)
        fields.count = count = shape.count
        if form - 1 > <uint64_t> count:
            return bad(d, f"at most {count} slots", form - 1)
        if n > d.budget // count:
            return unbacked(d, <uint64_t> n * count)
        claim(d, n * count)
    fields.slots = <Py_ssize_t> form - 1 if form else 0
    fields.offsets = NULL
    descend(d)
    fields.cls = read_callable(d)
    try:
        if d.inspect:
            return inspect_instances(d, out, n, first, &fields)
        open_fields(d, &fields)
        if d.has_refs or n == 1:
            for i in range(n):
                out[i] = new_instance(d, &fields)
                set_number(d, first + i, out[i])
        if n == 1:
            scratch = slots_new(count)
            for i in range(count):
                scratch[i] = d.walk_value(d)
            fill_instance(d, &fields, out[0], scratch, 1)
        else:
            columns = open_columns(d, count, n)
            scratch = slots_new(count * chunk)
            for start in range(0, n, chunk):
                m = min(n - start, chunk)
                read_columns(d, columns, count, scratch, chunk, start, m)
                for i in range(m):
                    if not d.has_refs:
                        out[start + i] = new_instance(d, &fields)
                    fill_instance(d, &fields, out[start + i], scratch + i, chunk)
    finally:
        free(fields.offsets)
        if columns != NULL:
            columns_free(columns, count, n)
        if scratch != NULL:
            slots_free(scratch, count * chunk)
    d.depth -= 1
    return 0


cdef int inspect_instances(Decoder* d, PyObject** out, Py_ssize_t n, Py_ssize_t first, Fields* fields) except -1:
    """Stand-ins for instances, which hold the fields."""
    cdef Py_ssize_t i, j, width = fields.count
    cdef PyObject** columns
    cdef list parts
    for i in range(n):
        out[i] = new_reference(stand_in(d, "an instance", fields.cls))
        set_number(d, first + i, out[i])
    columns = slots_new(width * n)
    try:
        for j in range(width):
            if n > 1:
                d.budget += n    # claimed already
            d.walk_items(d, columns + j * n, n)
        for i in range(n):
            parts = (<object> out[i]).parts
            for j in range(width):
                name = <object> fastser_tuple_items(fields.names)[j] if fields.names != NULL else j
                parts.append((name, <object> columns[j * n + i]))
    finally:
        slots_free(columns, width * n)
    d.depth -= 1
    return 0


cdef int rebuild_named_rows(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t width = read_count(d), i, j, start, m, chunk = min(n, <Py_ssize_t> CHUNK), first = number(d, n)
    cdef PyObject** scratch = NULL
    cdef PyObject** slots
    cdef PyObject* old
    cdef Column* columns = NULL
    cdef ClassPlan plan
    cdef OpenTuples open
    cdef Fields fields
    cdef bint rows
    if width and n > d.budget // width:
        return unbacked(d, <uint64_t> n * width)
    claim(d, n * width)
    descend(d)
    fields.cls = read_callable(d)
    if d.inspect:
        fields.names = NULL
        fields.count = width
        return inspect_instances(d, out, n, first, &fields)
    plan = class_plan(d, fields.cls)
    check_fields(d, fields.cls)
    rows = plan.kind == PLAN_ROWS
    if not rows:
        refuse(d, fields.cls)
    elif len((<object> fields.cls)._fields) != width and d.allowed == NULL:
        rows = False    # the class may know what to do
    elif len((<object> fields.cls)._fields) != width:
        return bad(d, f"the {len((<object> fields.cls)._fields)} items of a {_errors.class_name(<object> fields.cls)}", width)
    open.first = first
    open.count = n
    open.next = d.open
    try:
        if d.has_refs and rows:
            for i in range(n):
                out[i] = new_row(d, fields.cls, width)
                set_number(d, first + i, out[i])
            d.open = &open
        columns = open_columns(d, width, n)
        scratch = slots_new(width * chunk)
        for start in range(0, n, chunk):
            m = min(n - start, chunk)
            read_columns(d, columns, width, scratch, chunk, start, m)
            for i in range(m):
                if not rows:
                    out[start + i] = made_row(d, fields.cls, scratch + i, width, chunk)
                    set_number(d, first + start + i, out[start + i])
                    continue
                if not d.has_refs:
                    out[start + i] = new_row(d, fields.cls, width)
                slots = fastser_tuple_items(out[start + i])
                for j in range(width):
                    old = slots[j]
                    slots[j] = scratch[j * chunk + i]
                    scratch[j * chunk + i] = NULL
                    fastser_xdecref(old)
                show(d, out[start + i])
    finally:
        d.open = open.next
        if columns != NULL:
            columns_free(columns, width, n)
        if scratch != NULL:
            slots_free(scratch, width * chunk)
    d.depth -= 1
    return 0


cdef PyObject* new_row(Decoder* d, PyObject* cls, Py_ssize_t width) except NULL:
    """New reference: a row to fill.  Where references may lead to it before it is full, it is full of None."""
    cdef PyObject* o = fastser_new_row(cls, width)
    cdef Py_ssize_t i
    if d.has_refs:
        for i in range(width):
            fastser_incref(fastser_none)
            fastser_tuple_items(o)[i] = fastser_none
    hide(d, o)
    return o


cdef PyObject* made_row(Decoder* d, PyObject* cls, PyObject** values, Py_ssize_t width, Py_ssize_t stride) except NULL:
    """New reference: as pickle does, where the class is no longer what it was."""
    cdef Py_ssize_t j
    cdef list items = [<object> values[j * stride] for j in range(width)]
    user_code_begins(d)
    try:
        o = (<object> cls).__new__(<object> cls, *items)
    except Exception as error:
        raise _errors.cannot_rebuild(f"a {_errors.class_name(<object> cls)}", error, f"tag {d.at - d.view.tags}") from error
    user_code_ends(d)
    for j in range(width):
        fastser_decref(values[j * stride])
        values[j * stride] = NULL
    return new_reference(o)
