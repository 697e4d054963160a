"""NumPy arrays and scalars: what the encoder needs to know of them, on plain pointers."""

cimport numpy as cnp
from cpython.object cimport PyObject
from libc.string cimport memcmp


cdef extern from *:
    """
    #include <numpy/arrayobject.h>
    #define fastser_array_type ((PyObject *) &PyArray_Type)
    #define fastser_is_array(o) PyArray_Check(o)
    #define fastser_array(o) ((PyArrayObject *) (o))
    #define fastser_array_base(o) PyArray_BASE(fastser_array(o))
    #define fastser_array_data(o) ((char *) PyArray_DATA(fastser_array(o)))
    #define fastser_array_nbytes(o) ((Py_ssize_t) PyArray_NBYTES(fastser_array(o)))
    #define fastser_array_size(o) ((Py_ssize_t) PyArray_SIZE(fastser_array(o)))
    #define fastser_array_ndim(o) PyArray_NDIM(fastser_array(o))
    #define fastser_array_dims(o) ((Py_ssize_t *) PyArray_DIMS(fastser_array(o)))
    #define fastser_array_descr(o) ((PyObject *) PyArray_DESCR(fastser_array(o)))
    #define fastser_array_is_c(o) PyArray_IS_C_CONTIGUOUS(fastser_array(o))
    #define fastser_array_is_fortran(o) PyArray_IS_F_CONTIGUOUS(fastser_array(o))
    #define fastser_array_alignment(o) ((Py_ssize_t) PyDataType_ALIGNMENT(PyArray_DESCR(fastser_array(o))))
    #define fastser_array_owns(o) PyArray_CHKFLAGS(fastser_array(o), NPY_ARRAY_OWNDATA)
    #define fastser_array_item(o, at) PyArray_GETITEM(fastser_array(o), (const char *) (at))
    #define fastser_array_set(o, at, value) PyArray_SETITEM(fastser_array(o), (char *) (at), value)
    #define fastser_array_copy(o, order) PyArray_NewCopy(fastser_array(o), (order) ? NPY_FORTRANORDER : NPY_CORDER)
    #define fastser_array_into(to, from) PyArray_CopyInto(fastser_array(to), fastser_array(from))
    #define fastser_array_itemsize(o) ((Py_ssize_t) PyArray_ITEMSIZE(fastser_array(o)))
    #define fastser_descr(d) ((PyArray_Descr *) (d))
    #define fastser_descr_type_num(d) (fastser_descr(d)->type_num)
    #define fastser_descr_itemsize(d) ((Py_ssize_t) PyDataType_ELSIZE(fastser_descr(d)))
    #define fastser_descr_scalar_type(d) ((PyObject *) fastser_descr(d)->typeobj)
    #define fastser_is_scalar(o) PyArray_IsScalar((PyObject *) (o), Generic)
    #define fastser_scalar_descr(o) ((PyObject *) PyArray_DescrFromScalar(o))
    #define fastser_scalar_array(o) PyArray_FromScalar(o, NULL)
    #define fastser_new_scalar(at, d, base) PyArray_Scalar((void *) (at), fastser_descr(d), base)

    #define fastser_descr_alignment(d) ((Py_ssize_t) PyDataType_ALIGNMENT(fastser_descr(d)))
    #define fastser_descr_has_objects(d) PyDataType_REFCHK(fastser_descr(d))
    /* Whether one description serves both.  Of structured dtypes numpy's idea of equivalence leaves
       titles and alignment out, so that these must be the same object. */
    static inline int fastser_descrs_alike(PyObject *a, PyObject *b) {
        if (a == b)
            return 1;
        return fastser_descr_type_num(a) == fastser_descr_type_num(b)
            && fastser_descr_type_num(a) < NPY_NTYPES_LEGACY
            && !PyDataType_HASFIELDS(fastser_descr(a)) && !PyDataType_HASFIELDS(fastser_descr(b))
            && PyDataType_METADATA(fastser_descr(a)) == NULL && PyDataType_METADATA(fastser_descr(b)) == NULL
            && PyArray_EquivTypes(fastser_descr(a), fastser_descr(b));
    }
    #define fastser_descr_has_subarray(d) PyDataType_HASSUBARRAY(fastser_descr(d))
    static inline PyObject *fastser_new_array(PyObject *descr, int ndim, Py_ssize_t *dims, const char *data, int flags) {
        Py_INCREF(descr);    /* which PyArray_NewFromDescr steals */
        return PyArray_NewFromDescr(&PyArray_Type, fastser_descr(descr), ndim, (npy_intp *) dims, NULL, (void *) data, flags, NULL);
    }
    static inline PyObject *fastser_new_empty_array(PyObject *descr, int ndim, Py_ssize_t *dims, int fortran) {
        Py_INCREF(descr);
        return PyArray_Empty(ndim, (npy_intp *) dims, fastser_descr(descr), fortran);
    }
    static inline int fastser_array_set_base(PyObject *array, PyObject *base) {
        Py_INCREF(base);
        return PyArray_SetBaseObject(fastser_array(array), base);
    }
    #define fastser_array_is_writable(o) PyArray_ISWRITEABLE(fastser_array(o))
    #define fastser_array_freeze(o) PyArray_CLEARFLAGS(fastser_array(o), NPY_ARRAY_WRITEABLE)

    /* The dtypes that need no description: a code of ours for each, and the one descriptor that
       numpy keeps of it (native byte order, no metadata). */
    typedef struct { PyObject *descr; Py_ssize_t itemsize; Py_ssize_t alignment; } FastserPlain;
    enum { FASTSER_PLAIN_COUNT = 17 };
    static FastserPlain fastser_plain[FASTSER_PLAIN_COUNT];
    static signed char fastser_plain_code[NPY_NTYPES_LEGACY];
    static inline int fastser_plain_import(void) {
        static const int types[FASTSER_PLAIN_COUNT] = {
            -1, NPY_BOOL, NPY_INT8, NPY_UINT8, NPY_INT16, NPY_UINT16, NPY_INT32, NPY_UINT32, NPY_INT64, NPY_UINT64,
            NPY_HALF, NPY_FLOAT, NPY_DOUBLE, NPY_CFLOAT, NPY_CDOUBLE, NPY_OBJECT, -1,
        };
        int code;
        for (code = 0; code < FASTSER_PLAIN_COUNT; code++) {
            if (types[code] < 0)
                continue;
            PyArray_Descr *descr = PyArray_DescrFromType(types[code]);
            if (descr == NULL)
                return -1;
            fastser_plain[code].descr = (PyObject *) descr;
            fastser_plain[code].itemsize = PyDataType_ELSIZE(descr);
            fastser_plain[code].alignment = PyDataType_ALIGNMENT(descr);
            fastser_plain_code[types[code]] = (signed char) code;
        }
        /* Where C has two integer types of 64 bits, NumPy takes their dtypes for equal. */
        if (NPY_SIZEOF_LONGLONG == 8) {
            fastser_plain_code[NPY_LONGLONG] = fastser_plain_code[NPY_INT64];
            fastser_plain_code[NPY_ULONGLONG] = fastser_plain_code[NPY_UINT64];
        }
        return 0;
    }
    /* The code of a plain dtype, 0 for any other. */
    static inline int fastser_dtype_code(PyObject *descr) {
        int type_num = fastser_descr_type_num(descr);
        int code = type_num >= 0 && type_num < NPY_NTYPES_LEGACY ? fastser_plain_code[type_num] : 0;
        if (code == 0 || fastser_plain[code].descr == descr)
            return code;
        /* Another object of the same dtype, as unpickling makes them. */
        return PyDataType_ISNOTSWAPPED(fastser_descr(descr)) && PyDataType_METADATA(fastser_descr(descr)) == NULL
            && !PyDataType_HASFIELDS(fastser_descr(descr)) && !PyDataType_HASSUBARRAY(fastser_descr(descr)) ? code : 0;
    }
    """
    ctypedef struct FastserPlain:
        PyObject* descr
        Py_ssize_t itemsize
        Py_ssize_t alignment
    const int FASTSER_PLAIN_COUNT
    FastserPlain* fastser_plain
    int fastser_plain_import() except -1
    int fastser_dtype_code(PyObject* descr) noexcept

    PyObject* fastser_array_type
    bint fastser_is_array(PyObject* o) noexcept                             # of a subclass, too
    PyObject* fastser_array_base(PyObject* o) noexcept                      # borrowed, or NULL
    char* fastser_array_data(PyObject* o) noexcept
    Py_ssize_t fastser_array_nbytes(PyObject* o) noexcept
    Py_ssize_t fastser_array_size(PyObject* o) noexcept
    Py_ssize_t fastser_array_itemsize(PyObject* o) noexcept
    Py_ssize_t fastser_array_alignment(PyObject* o) noexcept
    int fastser_array_ndim(PyObject* o) noexcept
    Py_ssize_t* fastser_array_dims(PyObject* o) noexcept
    PyObject* fastser_array_descr(PyObject* o) noexcept      # borrowed
    bint fastser_array_is_c(PyObject* o) noexcept
    bint fastser_array_is_fortran(PyObject* o) noexcept
    bint fastser_array_owns(PyObject* o) noexcept
    PyObject* fastser_array_item(PyObject* o, const char* at) except NULL   # new
    int fastser_array_set(PyObject* o, char* at, PyObject* value) except -1
    PyObject* fastser_array_copy(PyObject* o, int fortran) except NULL      # new
    int fastser_array_into(PyObject* to, PyObject* source) except -1
    int fastser_descr_type_num(PyObject* descr) noexcept
    Py_ssize_t fastser_descr_itemsize(PyObject* descr) noexcept
    PyObject* fastser_descr_scalar_type(PyObject* descr) noexcept           # borrowed
    Py_ssize_t fastser_descr_alignment(PyObject* descr) noexcept
    bint fastser_descr_has_objects(PyObject* descr) noexcept
    bint fastser_descrs_alike(PyObject* a, PyObject* b) noexcept
    bint fastser_descr_has_subarray(PyObject* descr) noexcept
    PyObject* fastser_new_array(PyObject* descr, int ndim, Py_ssize_t* dims, const char* data, int flags) except NULL
    PyObject* fastser_new_empty_array(PyObject* descr, int ndim, Py_ssize_t* dims, bint fortran) except NULL
    int fastser_array_set_base(PyObject* array, PyObject* base) except -1
    bint fastser_array_is_writable(PyObject* array) noexcept
    void fastser_array_freeze(PyObject* array) noexcept
    int NPY_ARRAY_F_CONTIGUOUS
    int NPY_ARRAY_WRITEABLE
    int NPY_USERDEF
    bint fastser_is_scalar(PyObject* o) noexcept
    PyObject* fastser_scalar_descr(PyObject* o) except NULL                 # new
    PyObject* fastser_scalar_array(PyObject* o) except NULL                 # new, 0-d
    PyObject* fastser_new_scalar(const char* at, PyObject* descr, PyObject* base) except NULL


cdef enum:
    DTYPE_UINT8 = 3           # codes of fastser_plain
    DTYPE_OBJECT = 15
    DTYPE_DESCRIBED = 31      # a description follows as a value
    DTYPE_EARLIER = 32        # and beyond: the number of a description met before

    STRING_DTYPE = 2056       # NPY_VSTRING, which NumPy's headers show only to those who ask for 2.0

    GIL_KEPT_BELOW = 256      # elements that are copied without letting other threads run

    ORDER_C = 0
    ORDER_FORTRAN = 1


cdef inline int array_order(PyObject* o) noexcept:
    return ORDER_FORTRAN if fastser_array_is_fortran(o) and not fastser_array_is_c(o) else ORDER_C


cdef inline bint array_is_gathered(PyObject* o) noexcept:
    """Whether its elements do not lie in one piece in C or Fortran order."""
    return not fastser_array_is_c(o) and not fastser_array_is_fortran(o)


cdef inline bint arrays_alike(PyObject* a, PyObject* b) noexcept:
    """Same dtype, shape and order: one description serves both."""
    cdef int ndim = fastser_array_ndim(a)
    return (
        fastser_descrs_alike(fastser_array_descr(a), fastser_array_descr(b))
        and ndim == fastser_array_ndim(b)
        and array_order(a) == array_order(b)
        and (ndim == 0 or memcmp(fastser_array_dims(a), fastser_array_dims(b), ndim * sizeof(Py_ssize_t)) == 0)
    )


cdef inline bint array_may_be_viewed(PyObject* o, Py_ssize_t refcount) noexcept:
    """Whether another array may lie on the same memory."""
    return refcount > 1 or not fastser_array_owns(o)
