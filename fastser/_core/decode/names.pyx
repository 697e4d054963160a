"""Classes and other callables of a frame: found by name, or stood in for while a frame is inspected."""

from cpython.object cimport PyCallable_Check, PyObject
from cpython.type cimport PyType_Check
from libc.stdint cimport uint64_t

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport new_reference, replace_slot
from fastser._core.classes.plans cimport ClassPlan, known_plan, look_up, make_plan
from fastser._core.decode.errors cimport bad
from fastser._core.decode.identity cimport number, set_number
from fastser._core.decode.keys cimport new_key
from fastser._core.decode.read cimport next_text, read_varint
from fastser._core.decode.state cimport Decoder, user_code_begins, user_code_ends
from fastser._core.format.tags cimport TAG_GLOBAL

from fastser import errors as _errors, fallback as _fallback, inspection as _inspection

cdef object _missing = object()

cdef extern from "Python.h":
    bint PyFunction_Check(PyObject* o) noexcept
    bint PyCFunction_Check(PyObject* o) noexcept


cdef PyObject* read_callable(Decoder* d) except NULL:
    cdef uint64_t index = read_varint(d)
    cdef PyObject* o
    cdef Py_ssize_t place
    if d.callables == NULL:
        d.callables = new_list(0)
    if index:
        if index > <uint64_t> fastser_list_size(d.callables):
            bad(d, f"one of {fastser_list_size(d.callables)} callables", index)
        o = fastser_list_items(d.callables)[index - 1]
        if o == fastser_none:
            bad(d, "a callable that is complete", "one that needs itself")
        return o
    # Its number is taken before those of the callables that it needs.
    place = fastser_list_size(d.callables)
    (<list> d.callables).append(None)
    d.calling = d.at < d.end and d.at[0] == TAG_GLOBAL
    o = d.walk_value(d)
    d.calling = 0
    (<list> d.callables)[place] = <object> o
    fastser_decref(o)
    if d.inspect == NULL and not PyCallable_Check(<object> o):
        bad(d, "something to call, such as a class", _errors.no_class(<object> o, None if d.found == NULL else <object> d.found))
    return o


cdef ClassPlan class_plan(Decoder* d, PyObject* cls):
    cdef ClassPlan plan
    if not PyType_Check(<object> cls):
        bad(d, "a class", _errors.no_class(<object> cls, None if d.found == NULL else <object> d.found))
    plan = known_plan(cls)
    return make_plan(<object> cls) if plan is None else plan


cdef int refuse(Decoder* d, PyObject* cls) except -1:
    if d.allowed != NULL:
        raise _errors.changed(f"more of {_errors.class_name(<object> cls)} than its fields", f"tag {d.at - d.view.tags}")
    return 0


cdef int check_fields(Decoder* d, PyObject* cls) except -1:
    cdef object way
    if d.allowed != NULL:
        way = (<dict> d.allowed).get(<size_t> cls)
        if way is None or not way.fields:
            refuse(d, cls)
    return 0


cdef object way_of(Decoder* d, object call, uint64_t parts):
    cdef object way = (<dict> d.allowed).get(<size_t> <PyObject*> call)
    if way is None or not way.takes(parts):
        raise _errors.changed("a call", f"tag {d.at - d.view.tags}")
    return way


cdef object stand_in(Decoder* d, object what, PyObject* cls, object hook=None, uint64_t parts=0):
    return noted(d, _inspection.StandIn(what, f"tag {d.at - d.view.tags}", <object> cls if cls != NULL else None, None, hook, False, parts))


cdef object noted(Decoder* d, object part):
    (<list> d.inspect).append(part)
    return part


cdef inline object key_of(const char* text, Py_ssize_t size):
    cdef PyObject* key = new_key(text, size)
    cdef object name = <object> key
    fastser_decref(key)
    return name


cdef object found(Decoder* d, object module, object name):
    """What is found by module and name; perhaps the module is imported first."""
    cdef PyObject* known = look_up(module, name)
    cdef object o
    if known != NULL and PyType_Check(<object> known):
        return <object> known
    if known != NULL and (PyFunction_Check(known) or PyCFunction_Check(known)):
        o = <object> known
    else:    # what else a module holds may be a lazy import
        user_code_begins(d)
        try:
            o = _fallback.resolve(module, name)
        except Exception as error:
            raise _errors.cannot_find(module, name, error, f"tag {d.at - d.view.tags}") from error
        user_code_ends(d)
    if not isinstance(o, type):
        module = (module, name)
        replace_slot(&d.found, <PyObject*> module)
    return o


cdef int rebuild_globals(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, first = number(d, n), size = 0
    cdef const char* text
    cdef object module, name, o, way
    cdef bint calling = d.calling
    d.calling = 0
    if not d.foreign:
        return bad(d, "the header to announce classes", "one")
    for i in range(n):
        text = next_text(d, d.text, &size)
        module = key_of(text, size)
        text = next_text(d, d.text + 1, &size)
        name = key_of(text, size)
        d.text += 2
        if d.inspect:
            o = noted(d, _inspection.StandIn(
                f"{module}.{name}" if name else module, f"tag {d.at - d.view.tags}", None, (module, name), None, calling))
        elif d.allowed != NULL:
            o = (<dict> d.allowed).get(f"{module}.{name}", _missing)
            way = (<dict> d.allowed).get(<size_t> <PyObject*> o)
            if way is None or not (way.value or calling):
                raise _errors.changed(f"{module}.{name}", f"tag {d.at - d.view.tags}")
            if not way.value:    # what only makes others is no object of the frame: no reference leads to it
                out[i] = new_reference(o)
                continue
        else:
            o = found(d, module, name)
        out[i] = new_reference(o)
        set_number(d, first + i, out[i])
    return 0
