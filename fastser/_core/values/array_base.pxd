"""Arrays of subclasses, as NumPy lays them out: a plain array over the same memory, and one that takes over another's elements."""

from cpython.object cimport PyObject


cdef extern from *:
    """
    #include <numpy/arrayobject.h>

    #define fastser_array_is_swapped(o) PyArray_ISBYTESWAPPED((PyArrayObject *) (o))
    #define fastser_is_array_class(cls) (PyType_Check(cls) && PyType_IsSubtype((PyTypeObject *) (cls), &PyArray_Type))

    /* New reference: a plain array of the same elements, whose base is the array itself. */
    static inline PyObject *fastser_base_array(PyObject *o) {
        PyArrayObject *array = (PyArrayObject *) o;
        PyArray_Descr *descr = PyArray_DESCR(array);
        Py_INCREF(descr);
        PyObject *view = PyArray_NewFromDescr(
            &PyArray_Type, descr, PyArray_NDIM(array), PyArray_DIMS(array), PyArray_STRIDES(array), PyArray_DATA(array),
            PyArray_FLAGS(array) & NPY_ARRAY_WRITEABLE, NULL);
        if (view != NULL) {
            Py_INCREF(o);
            ((PyArrayObject_fields *) view)->base = o;    /* NumPy's own function would skip it for its base */
        }
        return view;
    }

    /* New reference: an empty array of a subclass, as unpickling makes it. */
    static inline PyObject *fastser_new_array_of(PyObject *cls) {
        npy_intp none = 0;
        return PyArray_NewFromDescr((PyTypeObject *) cls, PyArray_DescrFromType(NPY_INT8), 1, &none, NULL, NULL, 0, NULL);
    }

    /* All that tells the elements of one array is the other's, and the other way round.  Nothing else may know of them. */
    static inline void fastser_exchange_elements(PyObject *one, PyObject *other) {
        PyArrayObject_fields *a = (PyArrayObject_fields *) one, *b = (PyArrayObject_fields *) other, old = *a;
        a->data = b->data, b->data = old.data;
        a->nd = b->nd, b->nd = old.nd;
        a->dimensions = b->dimensions, b->dimensions = old.dimensions;
        a->strides = b->strides, b->strides = old.strides;
        a->base = b->base, b->base = old.base;
        a->descr = b->descr, b->descr = old.descr;
        a->flags = b->flags, b->flags = old.flags;
        a->mem_handler = b->mem_handler, b->mem_handler = old.mem_handler;
    }
    """
    bint fastser_array_is_swapped(PyObject* o) noexcept
    bint fastser_is_array_class(PyObject* cls) noexcept
    PyObject* fastser_base_array(PyObject* o) except NULL
    PyObject* fastser_new_array_of(PyObject* cls) noexcept        # NULL with an exception
    void fastser_exchange_elements(PyObject* one, PyObject* other) noexcept
