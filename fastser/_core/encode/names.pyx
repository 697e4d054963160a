"""Objects that are found by their names: classes, functions, modules."""

from cpython.object cimport PyObject
from cpython.type cimport PyType_Check

from fastser._core.c.capi cimport fastser_sentinel_type, fastser_type
from fastser._core.c.memo cimport MemoEntry, memo_entry
from fastser._core.classes.plans cimport ClassPlan, is_found, known_plan
from fastser._core.encode.memory cimport number_one, path_of
from fastser._core.encode.state cimport (
    Encoder, FALLBACK_CLOUDPICKLE, FALLBACK_NONE, FALLBACK_PICKLE, stop, STOP_CAREFUL, text_failed, write_tag,
    write_varint,
)
from fastser._core.format.tags cimport *
from fastser._core.values.text cimport TEXT_OK, text_append

from fastser import errors as _errors, fallback as _fallback

cdef frozenset _main = _fallback.MAIN


cdef extern from *:
    """
    #define fastser_is_function(o) PyFunction_Check(o)
    /* Names within functions have a part in angle brackets. */
    static inline int fastser_is_local(PyObject *name) {
        return PyUnicode_FindChar(name, '<', 0, PyUnicode_GET_LENGTH(name), 1) >= 0;
    }
    #define fastser_function_name(o) (((PyFunctionObject *) (o))->func_qualname)
    /* Of a function in C; NULL where it has none. */
    #define fastser_builtin_module(o) (PyCFunction_CheckExact(o) ? ((PyCFunctionObject *) (o))->m_module : NULL)
    """
    bint fastser_is_function(PyObject* o) noexcept
    bint fastser_is_local(PyObject* name) noexcept
    PyObject* fastser_function_name(PyObject* o) noexcept    # borrowed, as the others
    PyObject* fastser_builtin_module(PyObject* o) noexcept
    PyObject* PyFunction_GetModule(PyObject* o) noexcept     # NULL where its globals have no __name__


cdef object mode_of(Encoder* e):
    if e.fallback == FALLBACK_NONE:
        return None
    return "pickle" if e.fallback == FALLBACK_PICKLE else "cloudpickle"


cdef bint encode_reference(Encoder* e, PyObject* o, object name) except -1:
    cdef ClassPlan plan
    cdef object found = None
    cdef object part
    if fastser_is_function(o) and PyFunction_GetModule(o) != NULL:
        found = (<object> PyFunction_GetModule(o), <object> fastser_function_name(o))
    elif name is not None and fastser_builtin_module(o) != NULL:
        found = (<object> fastser_builtin_module(o), name)
    elif PyType_Check(<object> o):
        plan = known_plan(o)
        if plan is not None:
            found = (plan.module, plan.name)
    elif fastser_type(o) == fastser_sentinel_type:
        found = ((<object> o).__module__, (<object> o).__name__)
    if e.fallback == FALLBACK_CLOUDPICKLE and fastser_is_function(o) and fastser_is_local(fastser_function_name(o)):
        return False
    if e.fallback == FALLBACK_CLOUDPICKLE and found is not None and type(found[0]) is str and found[0] in _main:
        return False
    if found is None or not is_found(o, found[0], found[1]):
        if not e.careful:
            stop(e, STOP_CAREFUL)
        try:
            found = _fallback.reference(<object> o, mode_of(e), name)
        except Exception as error:
            raise _errors.cannot_pack(path_of(e, o), _errors.type_name(<object> o), error) from error
        if found is None:
            return False
    number_one(e, o)
    e.flags |= FLAG_FOREIGN
    write_tag(e, TAG_GLOBAL)
    for part in found:
        if text_append(&e.columns, <PyObject*> part) != TEXT_OK:
            text_failed(e)
    return True


cdef int write_callable(Encoder* e, PyObject* callable) except -1:
    cdef MemoEntry* entry = memo_entry(&e.classes, callable)
    cdef Py_ssize_t index
    if entry == NULL:
        raise MemoryError()
    if entry.value >= 0:
        return write_varint(e, entry.value + 1)
    # It is known by its number once it is complete; met before, in what it holds itself, it is another callable of the frame.
    index = e.class_count
    e.class_count += 1
    write_varint(e, 0)
    e.walk_value(e, callable)
    entry = memo_entry(&e.classes, callable)    # the table may have moved
    if entry == NULL:
        raise MemoryError()
    entry.value = index
    return 0
