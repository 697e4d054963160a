"""What exact types are to the encoder: native or not, numbered or not.

The types that are not among the interpreter's own are looked up by kinds_import, which a module calls
before it uses anything of this header (and after NumPy's import_array).
"""

from cpython.object cimport PyObject

from fastser._core.c.capi cimport *
from fastser._core.values.arrays cimport fastser_array_type


cdef extern from *:
    """
    #include <numpy/arrayobject.h>

    /* Strong references for the process's life. */
    static PyObject *datetime_type, *date_type, *time_type, *timedelta_type, *timezone_type, *utc, *zoneinfo_type;
    static PyObject *decimal_type, *uuid_type;
    static PyObject *scalar_types[NPY_NTYPES_LEGACY];

    static PyObject *kinds_attribute(const char *module_name, const char *name) {
        PyObject *attribute, *module = PyImport_ImportModule(module_name);
        if (module == NULL)
            return NULL;
        attribute = PyObject_GetAttrString(module, name);
        Py_DECREF(module);
        return attribute;
    }

    static int kinds_import(void) {
        int i;
        if ((datetime_type = kinds_attribute("datetime", "datetime")) == NULL
            || (date_type = kinds_attribute("datetime", "date")) == NULL
            || (time_type = kinds_attribute("datetime", "time")) == NULL
            || (timedelta_type = kinds_attribute("datetime", "timedelta")) == NULL
            || (timezone_type = kinds_attribute("datetime", "timezone")) == NULL
            || (utc = PyObject_GetAttrString(timezone_type, "utc")) == NULL
            || (zoneinfo_type = kinds_attribute("zoneinfo", "ZoneInfo")) == NULL
            || (decimal_type = kinds_attribute("decimal", "Decimal")) == NULL
            || (uuid_type = kinds_attribute("uuid", "UUID")) == NULL)
            return -1;
        for (i = 0; i < NPY_NTYPES_LEGACY; i++) {
            /* There are no scalars of dtype object: records, which have no number, take the place. */
            scalar_types[i] = i == NPY_OBJECT ? kinds_attribute("numpy", "record") : PyArray_TypeObjectFromType(i);
            if (scalar_types[i] == NULL)
                return -1;
        }
        return 0;
    }
    """
    const int NPY_NTYPES_LEGACY
    PyObject* datetime_type
    PyObject* date_type
    PyObject* time_type
    PyObject* timedelta_type
    PyObject* timezone_type
    PyObject* utc
    PyObject* zoneinfo_type
    PyObject* decimal_type
    PyObject* uuid_type
    PyObject** scalar_types
    int kinds_import() except -1


cdef enum:
    CAN_REPEAT = 1        # kinds of types, see kind_of
    NUMBERED = 2
    FOREIGN = 4           # not native


cdef inline bint is_native_scalar(PyObject* t) noexcept:
    """Whether t is one of NumPy's own scalar types (a subclass of a user's is not)."""
    cdef int i
    for i in range(NPY_NTYPES_LEGACY):
        if scalar_types[i] == t:
            return True
    return False


cdef inline int kind_of(PyObject* t) noexcept:
    """What the types that are not the hottest are: NUMBERED ones can be referred back to."""
    if (t == fastser_list_type or t == fastser_tuple_type or t == fastser_dict_type or t == fastser_set_type
            or t == fastser_frozenset_type or t == fastser_frozendict_type or t == fastser_array_type
            or t == fastser_bytearray_type or t == timezone_type or t == zoneinfo_type):
        return NUMBERED
    if (t == fastser_str_type or t == datetime_type or t == decimal_type or t == uuid_type or t == fastser_bytes_type
            or t == date_type or t == time_type or t == timedelta_type):
        return CAN_REPEAT
    if (t == fastser_int_type or t == fastser_float_type or t == fastser_none_type or t == fastser_bool_type
            or t == fastser_complex_type or t == fastser_range_type or t == fastser_slice_type
            or t == fastser_ellipsis_type or t == fastser_not_implemented_type):
        return 0
    if is_native_scalar(t):
        return 0
    return NUMBERED | FOREIGN


cdef inline bint is_mapping(PyObject* t) noexcept:
    return t == fastser_dict_type or t == fastser_frozendict_type


cdef inline bint is_frozen(PyObject* t) noexcept:
    """Whether objects of a container type may be hashed, once they are complete."""
    return t == fastser_tuple_type or t == fastser_frozenset_type or t == fastser_frozendict_type


cdef inline bint is_hole(PyObject* o) noexcept:
    """Whether an object stands for what is missing in a column."""
    return o == fastser_none or fastser_type(o) == fastser_sentinel_type


cdef inline bint is_level(PyObject* t) noexcept:
    """Whether objects of a numbered type hold others (arrays of objects see to that themselves)."""
    return not (t == fastser_array_type or t == fastser_bytearray_type or t == timezone_type or t == zoneinfo_type)
