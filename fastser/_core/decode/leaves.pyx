"""What its class makes again when it is called: zones, decimals and UUIDs."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from fastser._core.c.capi cimport *
from fastser._core.c.refs cimport new_reference
from fastser._core.decode.errors cimport bad
from fastser._core.decode.identity cimport number, set_number
from fastser._core.decode.leaf_runs cimport decode_text
from fastser._core.decode.read cimport next_data, next_text, read_varint
from fastser._core.decode.state cimport Decoder
from fastser._core.format.tags cimport TAG_UTC

import datetime as _datetime
import decimal as _decimal
import uuid as _uuid
import zoneinfo as _zoneinfo

cdef object _utc = _datetime.timezone.utc
cdef object _zoneinfo_class = _zoneinfo.ZoneInfo
cdef object _decimal_class = _decimal.Decimal
cdef object _uuid_class = _uuid.UUID
cdef tuple _safe_uuid = (_uuid.SafeUUID.unknown, _uuid.SafeUUID.safe, _uuid.SafeUUID.unsafe)


cdef extern from *:
    """
    /* A UUID from its two slots: its __init__ would check them again.  Steals number. */
    static inline PyObject *fastser_new_uuid(PyObject *cls, PyObject *number, PyObject *safety) {
        PyObject *o = PyType_GenericAlloc((PyTypeObject *) cls, 0);
        if (o != NULL) {
            static PyObject *name_int = NULL, *name_safe = NULL;
            if (name_int == NULL) name_int = PyUnicode_InternFromString("int");
            if (name_safe == NULL) name_safe = PyUnicode_InternFromString("is_safe");
            if (PyObject_GenericSetAttr(o, name_int, number) < 0 || PyObject_GenericSetAttr(o, name_safe, safety) < 0)
                Py_CLEAR(o);
        }
        Py_DECREF(number);
        return o;
    }
    """
    PyObject* fastser_new_uuid(PyObject* cls, PyObject* number, PyObject* safety) except NULL


cdef int rebuild_zones(Decoder* d, PyObject** out, Py_ssize_t n, int tag) except -1:
    cdef Py_ssize_t i, size = 0, first = number(d, n)
    cdef const char* text
    if tag == TAG_UTC:
        for i in range(n):
            out[i] = new_reference(_utc)
            set_number(d, first + i, out[i])
        return 0
    if not d.foreign:
        return bad(d, "the header to announce a time zone", "one")
    for i in range(n):
        text = next_text(d, d.text, &size)
        d.text += 1
        out[i] = new_reference(_zoneinfo_class(text[:size].decode("utf-8")))
        set_number(d, first + i, out[i])
    return 0


cdef int rebuild_decimals(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    cdef PyObject* text
    for i in range(n):
        text = decode_text(d)
        try:
            out[i] = new_call(<PyObject*> _decimal_class, text)
        finally:
            fastser_decref(text)
    return 0


cdef int rebuild_uuids(Decoder* d, PyObject** out, Py_ssize_t n) except -1:
    cdef Py_ssize_t i, size = 0
    cdef uint64_t safety = read_varint(d)
    cdef const unsigned char* data = <const unsigned char*> next_data(d, &size)
    if safety > 2 or n > size // 16 or size != n * 16:
        return bad(d, f"{n} UUIDs of 16 bytes", size)
    for i in range(n):
        out[i] = fastser_new_uuid(
            <PyObject*> _uuid_class, fastser_int_from_bytes(data + 16 * i, 16, True, False),
            fastser_tuple_items(<PyObject*> _safe_uuid)[safety])
    return 0
