"""Objects of types that are not native: each is packed by the plan of its class."""

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject

from fastser._core.c.capi cimport *
from fastser._core.c.memo cimport MemoEntry, memo_entry
from fastser._core.classes.plans cimport (
    ClassPlan, is_found, known_plan, make_plan, PLAN_ARRAY, PLAN_DTYPE, PLAN_FIELDS, PLAN_HOOK, PLAN_REDUCE,
    PLAN_REFERENCE, PLAN_ROWS, PLAN_SCALAR,
)
from fastser._core.encode.array_classes cimport encode_array_of, encode_arrays_of
from fastser._core.encode.arrays cimport describe_all, encode_dtypes, encode_scalars
from fastser._core.encode.calls cimport encode_by_value, encode_call, encode_calls, encode_hooked, encode_tracked
from fastser._core.encode.identity cimport known_prefix, write_reference
from fastser._core.encode.instances cimport encode_instance, encode_instance_run, encode_row_run
from fastser._core.encode.memory cimport encode_arrow, path_of
from fastser._core.encode.names cimport encode_reference
from fastser._core.encode.runs cimport is_worth_it
from fastser._core.encode.state cimport Encoder, stop, STOP_CAREFUL, write_concat
from fastser._core.format.tags cimport *
from fastser._core.values.kinds cimport FOREIGN, kind_of, kinds_import

from fastser import errors as _errors
from fastser._core.arrow.data import ArrowData as _ArrowData

cdef PyObject* _arrow_data = <PyObject*> _ArrowData

cnp.import_array()
kinds_import()


cdef ClassPlan plan_of(Encoder* e, PyObject* o):
    cdef ClassPlan plan = known_plan(fastser_type(o))
    if plan is None:
        if not e.careful:
            stop(e, STOP_CAREFUL)
        try:
            plan = make_plan(type(<object> o))
        except Exception as error:
            raise _errors.cannot_pack(path_of(e, o), _errors.type_name(<object> o), error) from error
    return plan


cdef bint runs_code(PyObject* o) noexcept:
    """Whether packing an object is known to run Python code, so that there is no use in trying without.

    Of a list or tuple the first item tells.  A look into dicts would cost a small message a twentieth.
    """
    cdef PyObject* t = fastser_type(o)
    cdef ClassPlan plan
    if (t == fastser_list_type or t == fastser_tuple_type) and fastser_list_size(o):
        o = (fastser_list_items(o) if t == fastser_list_type else fastser_tuple_items(o))[0]
        t = fastser_type(o)
    if not kind_of(t) & FOREIGN:
        return False
    plan = known_plan(t)
    return plan is None or plan.kind > PLAN_SCALAR or plan.masked


cdef object hook_of(Encoder* e, PyObject* t):
    """The hook for a class, or None."""
    cdef PyObject* hook
    if e.hooks == NULL:
        return None
    hook = PyDict_GetItem((<object> e.hooks).found, <size_t> t)
    if hook != NULL:
        if hook != fastser_none and not e.careful:
            stop(e, STOP_CAREFUL)
        return <object> hook
    if not e.careful:
        stop(e, STOP_CAREFUL)
    return (<object> e.hooks).find(<object> t)


cdef Py_ssize_t encode_for_hook(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n, object hook) except -1:
    """By a hook of the users', who make something of the arrays as reducers do; hooks that are built in see to themselves."""
    cdef Py_ssize_t done
    e.made += 1
    done = encode_hooked(e, items, k, n, hook)
    e.made -= 1
    return done


cdef inline bint is_first_of_class(Encoder* e, PyObject* t, ClassPlan plan) except -1:
    """Whether an instance is to be a call, lest its class lead back to it before a reader has begun it."""
    cdef MemoEntry* entry
    if not e.classes_first or plan.kind > PLAN_ARRAY or is_found(t, plan.module, plan.name):
        return False
    entry = memo_entry(&e.classes, t)
    if entry == NULL:
        raise MemoryError()
    return entry.value < 0


cdef int encode_foreign(Encoder* e, PyObject* o) except -1:
    cdef PyObject* t = fastser_type(o)
    cdef ClassPlan plan
    cdef object hook
    if known_prefix(e, &o, 1):
        return write_reference(e, o)
    if e.whole != NULL and not e.track and <size_t> o in <dict> e.whole:
        return encode_tracked(e, o)
    if t == _arrow_data:
        return encode_arrow(e, o)
    hook = hook_of(e, t)
    if hook is not None and encode_for_hook(e, &o, 1, 1, hook):
        return 0
    plan = plan_of(e, o)
    if is_first_of_class(e, t, plan):
        return encode_call(e, o, plan)
    if plan.kind == PLAN_FIELDS:
        if encode_instance(e, o, plan):
            return 0
    elif plan.kind == PLAN_ROWS and not e.recursive:
        encode_row_run(e, &o, 1, 1, plan)
        return 0
    elif plan.kind == PLAN_ARRAY:
        if encode_array_of(e, o, plan):
            return 0
    elif plan.kind == PLAN_DTYPE:
        if describe_all(&o, 1):
            return encode_dtypes(e, &o, 1)
    elif plan.kind == PLAN_SCALAR:
        return encode_scalars(e, &o, 1)
    elif plan.kind == PLAN_REFERENCE:
        if not encode_reference(e, o, None):
            encode_by_value(e, o, None, None)
        return 0
    elif plan.kind == PLAN_HOOK:
        if encode_hooked(e, &o, 1, 1, plan.hook):
            return 0
    return encode_call(e, o, plan)


cdef Py_ssize_t encode_foreign_run(Encoder* e, PyObject** items, Py_ssize_t k, Py_ssize_t n) except -1:
    cdef PyObject* t = fastser_type(items[0])
    cdef ClassPlan plan
    cdef object hook
    if e.singly or e.whole != NULL or t == _arrow_data:
        return 0
    hook = hook_of(e, t)
    if hook is not None:
        return encode_for_hook(e, items, k, n, hook)
    plan = plan_of(e, items[0])
    if is_first_of_class(e, t, plan):
        write_concat(e, 1, n)
        encode_call(e, items[0], plan)
        return 1
    if plan.kind == PLAN_FIELDS:
        return encode_instance_run(e, items, k, n, plan)
    if plan.kind == PLAN_ROWS:
        return encode_row_run(e, items, k, n, plan)
    if plan.kind == PLAN_ARRAY:
        return encode_arrays_of(e, items, k, n, plan)
    if plan.kind == PLAN_DTYPE or plan.kind == PLAN_SCALAR:
        if not is_worth_it(k, n) or (plan.kind == PLAN_DTYPE and not describe_all(items, k)):
            return 0
        write_concat(e, k, n)
        if plan.kind == PLAN_DTYPE:
            encode_dtypes(e, items, k)
        else:
            encode_scalars(e, items, k)
        return k
    if plan.kind == PLAN_REDUCE:
        return encode_calls(e, items, k, n, plan)
    if plan.kind == PLAN_HOOK:
        return encode_hooked(e, items, k, n, plan.hook)
    return 0


cdef int encode_as_call(Encoder* e, PyObject* o) except -1:
    if known_prefix(e, &o, 1):
        return write_reference(e, o)
    return encode_call(e, o, None)
