"""NumPy dtypes as tagged fields of our own, both ways.

A description is a plain tuple that starts with its kind:

    (kind, itemsize, big)                     "b" "i" "u" "f" "c": bool, integers, floats, complex; big: big-endian
    ("g" | "G", itemsize, big, digits)        long double and its complex: which of the formats of that size, by mantissa bits
    ("M" | "m", unit, multiple, big)          datetime64, timedelta64; unit "generic" has multiple 1
    ("S" | "V", itemsize)   ("U", chars, big)
    ("T", coerce)   ("T", coerce, na_object)  StringDType; the missing value is whatever object the user chose
    ("O",)
    ("A", shape, base)                        sub-array
    ("R", itemsize, aligned, record, names, titles, offsets, descriptions)   structured; record: scalars are numpy.record
    ("E", package, name, itemsize)            of another package, which has its scalars' class by that name

"O" and "T" occur at the top only: elements that hold pointers never lie inside others.
"""

cdef extern from *:
    # NumPy's headers show StringDType's fields only to those who ask for 2.0.
    "#define NPY_TARGET_VERSION NPY_2_0_API_VERSION"

cimport numpy as cnp
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject, PyTypeObject

from fastser._core.classes.plans cimport look_up

from importlib import import_module as _import_module

import numpy as np

from fastser import errors, numpy_classes as _numpy_classes

cnp.import_array()

cdef extern from "<float.h>":
    int LDBL_MANT_DIG
    int DBL_MANT_DIG

cdef extern from "numpy/arrayobject.h":
    ctypedef struct DatetimeMeta "PyArray_DatetimeMetaData":
        int base
        int num
    ctypedef struct DatetimeAux "PyArray_DatetimeDTypeMetaData":
        DatetimeMeta meta
    ctypedef struct SubarrayDescr "PyArray_ArrayDescr":
        PyObject* base
        PyObject* shape
    ctypedef struct StringDescr "PyArray_StringDTypeObject":
        PyObject* na_object
        char coerce
    void* PyDataType_C_METADATA(cnp.dtype)
    bint PyDataType_REFCHK(cnp.dtype)
    int NPY_USERDEF             # the first number of those that others register

cdef enum:
    ALIGNED_STRUCT = 0x80       # NPY_ALIGNED_STRUCT
    STRING_DTYPE = 2056         # NPY_VSTRING
    MAX_ITEMSIZE = 0x7FFFFFFF   # NumPy parses and multiplies element sizes as C ints; beyond, some wrap around
    MAX_NESTING = 32            # NumPy's own functions on dtypes recurse without a limit
    MAX_NDIM = 64
    MAX_PARTS = 1 << 16         # one description may hold another many times

# By NPY_DATETIMEUNIT; its number 3 was given up long ago.
cdef tuple UNITS = ("Y", "M", "W", None, "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic")
cdef frozenset KNOWN_UNITS = frozenset(unit for unit in UNITS if unit is not None)
cdef dict NUMBERS = {
    (kind, size, big): np.dtype(f"{'>' if big else '<'}{kind}{size}")
    for kind, sizes in (("b", (1,)), ("i", (1, 2, 4, 8)), ("u", (1, 2, 4, 8)), ("f", (2, 4, 8)), ("c", (8, 16)))
    for size in sizes for big in (False, True)
}
# Packages whose dtypes are known by their names: those of elements that are plain memory.
cdef frozenset PACKAGES = frozenset(_numpy_classes.PACKAGES)
cdef type RECORD = np.record
cdef type VOID = np.void
cdef object STRING = np.dtypes.StringDType
cdef bint HOST_IS_BIG = np.little_endian is False
# Where a long double is nothing but a double it is described as one.
cdef bint LONG_DOUBLE_IS_OWN = LDBL_MANT_DIG != DBL_MANT_DIG


# --- dtype -> description ----------------------------------------------------------------------------------------------
# The packer calls this while it holds raw pointers: nothing below may run Python code of anybody's.


cpdef object describe(object dtype):
    """Return the description of `dtype`, or None if it is none of NumPy's own, or has parts that a description would lose."""
    cdef cnp.npy_intp alignment = 1
    return _describe(dtype, 0, &alignment)


cdef object _describe(cnp.dtype dtype, int level, cnp.npy_intp* alignment):
    # alignment: of the dtype that build() will make, which for an aligned struct decides which offsets are possible.
    cdef int number = dtype.type_num
    cdef bint big
    cdef cnp.npy_intp size = dtype.itemsize
    if number == STRING_DTYPE:
        return _describe_string(dtype) if level == 0 and type(dtype) is STRING else None
    if number >= NPY_USERDEF:
        return _describe_extension(dtype, alignment)
    if not 0 <= number < cnp.NPY_NTYPES_LEGACY or dtype.metadata:  # NumPy up to 2.2 unpickles times with metadata, but no entries
        return None
    if level > MAX_NESTING or not 0 <= size <= MAX_ITEMSIZE:
        return None
    if number == cnp.NPY_VOID:
        if cnp.PyDataType_HASFIELDS(dtype):
            return _describe_struct(dtype, level, alignment)
        if cnp.PyDataType_HASSUBARRAY(dtype):
            return _describe_subarray(dtype, level, alignment)
    elif cnp.PyDataType_HASFIELDS(dtype):
        return None  # an integer whose bytes have names
    if dtype.typeobj != cnp.PyArray_DescrFromType(number).typeobj:
        return None
    alignment[0] = max(1, dtype.alignment)
    big = size > 1 and (dtype.byteorder == c'>' or (dtype.byteorder == c'=' and HOST_IS_BIG))
    if number == cnp.NPY_OBJECT:
        return ("O",) if level == 0 else None
    if number == cnp.NPY_STRING:
        return ("S", size)
    if number == cnp.NPY_VOID:
        return ("V", size)
    if number == cnp.NPY_UNICODE:
        return ("U", size // 4, big)
    if number == cnp.NPY_DATETIME or number == cnp.NPY_TIMEDELTA:
        return _describe_time(dtype, "M" if number == cnp.NPY_DATETIME else "m", big)
    if LONG_DOUBLE_IS_OWN and number == cnp.NPY_LONGDOUBLE:
        return ("g", size, big, LDBL_MANT_DIG)
    if LONG_DOUBLE_IS_OWN and number == cnp.NPY_CLONGDOUBLE:
        return ("G", size, big, LDBL_MANT_DIG)
    return (chr(dtype.kind), size, big)


cdef object _describe_time(cnp.dtype dtype, str kind, bint big):
    cdef DatetimeMeta* meta = &(<DatetimeAux*> PyDataType_C_METADATA(dtype)).meta
    if not 0 <= meta.base < len(UNITS):
        return None
    return (kind, UNITS[meta.base], meta.num, big)


cdef object _describe_string(cnp.dtype dtype):
    cdef StringDescr* string = <StringDescr*> <PyObject*> dtype
    if string.na_object == NULL:
        return ("T", string.coerce != 0)
    return ("T", string.coerce != 0, <object> string.na_object)


cdef object _describe_extension(cnp.dtype dtype, cnp.npy_intp* alignment):
    """Of a dtype that another package registered with NumPy."""
    cdef PyObject* found = PyDict_GetItem(_extensions, <object> dtype.typeobj)
    if not (dtype.byteorder == c'=' or dtype.byteorder == c'|') or dtype.metadata or PyDataType_REFCHK(dtype):
        return None
    alignment[0] = max(1, dtype.alignment)
    if found != NULL:
        return <object> found
    description = package_of(<object> dtype.typeobj)
    if description is not None:
        description = ("E", *description, dtype.itemsize)
        _extensions[<object> dtype.typeobj] = description
    return description


cdef dict _extensions = {}   # the descriptions of such dtypes, by the class of their scalars


cdef object package_of(object scalar):
    """Where a class of scalars is found, (package, name), if it is one whose dtypes are known by their names."""
    # None of this runs Python code of anybody's: classes with metaclasses are nobody's scalars.
    if type(scalar) is not type:
        return None
    name = (<type> scalar).__name__
    for package in PACKAGES:
        if look_up(package, name) == <PyObject*> scalar:
            return package, name
    return None


cdef bint imports(object description):
    """Whether a reader imports something for a dtype."""
    if description[0] == "E":
        return True
    if description[0] == "A":
        return imports(description[2])
    if description[0] == "R":
        for field in description[7]:
            if imports(field):
                return True
    return False


cdef object _describe_subarray(cnp.dtype dtype, int level, cnp.npy_intp* alignment):
    cdef SubarrayDescr* subarray = <SubarrayDescr*> dtype.subarray
    cdef object base
    if dtype.typeobj != <PyTypeObject*> VOID:
        return None
    base = _describe(<cnp.dtype> subarray.base, level + 1, alignment)
    return None if base is None else ("A", <tuple> subarray.shape, base)


cdef object _describe_struct(cnp.dtype dtype, int level, cnp.npy_intp* alignment):
    cdef tuple names = dtype.names
    cdef dict fields = <dict> cnp.PyDataType_FIELDS(dtype)
    cdef bint aligned = dtype.flags & ALIGNED_STRUCT != 0
    cdef bint record = dtype.typeobj == <PyTypeObject*> RECORD
    cdef list titles = [], offsets = [], descriptions = []
    cdef cnp.npy_intp own = 1, inner, offset
    cdef PyObject* found
    cdef tuple field
    if not record and dtype.typeobj != <PyTypeObject*> VOID:
        return None
    for name in names:
        found = PyDict_GetItem(fields, name)
        if found == NULL or type(name) is not str:
            return None
        field = <tuple?> <object> found
        title = field[2] if len(field) > 2 else None
        if title is not None and type(title) is not str:
            return None
        inner = 1
        description = _describe(field[0], level + 1, &inner)
        if description is None:
            return None
        offset = field[1]
        # A selection of fields keeps the flag of the struct it was taken from, but need not be aligned itself.
        if aligned and offset % inner:
            return None
        own = max(own, inner)
        titles.append(title)
        offsets.append(offset)
        descriptions.append(description)
    if aligned and dtype.itemsize % own:
        return None
    alignment[0] = own if aligned and not record else 1
    return ("R", dtype.itemsize, aligned, record, names, tuple(titles), tuple(offsets), tuple(descriptions))


# --- description -> dtype ----------------------------------------------------------------------------------------------


cpdef object build(object description, bint foreign=True):
    """Return the dtype that `description` describes; ``foreign``: the frame announces that something is imported.

    Descriptions come off the wire: everything is checked here, before NumPy sees it, and NumPy is only ever given names and
    sizes of this file's own making.

    Raises
    ------
    DecodeError
        The description is malformed, this platform has no such dtype, or the package that has it is not installed.
    """
    cdef Py_ssize_t left = MAX_PARTS
    return _build(description, 0, &left, foreign)


cdef object _build(object given, int level, Py_ssize_t* left, bint foreign):
    cdef tuple description
    left[0] -= 1
    if left[0] < 0:
        raise errors.bad_dtype(f"at most {MAX_PARTS} parts", "more")
    if type(given) is not tuple or not given or type((<tuple> given)[0]) is not str:
        raise errors.bad_dtype("a tuple that starts with a kind", given)
    if level > MAX_NESTING:
        raise errors.bad_dtype(f"at most {MAX_NESTING} levels of nesting", "a deeper one")
    description = <tuple> given
    kind = description[0]
    if kind == "R":
        return _build_struct(description, level, left, foreign)
    if kind == "A":
        return _build_subarray(description, level, left, foreign)
    if kind == "O" or kind == "T":
        if level:
            raise errors.bad_dtype("a dtype without pointers inside another one", description)
        return np.dtype("O") if kind == "O" and len(description) == 1 else _build_string(description)
    if kind == "E":
        return _build_extension(description, foreign)
    if kind == "S" or kind == "V":
        _expect(description, (str, int))
        return np.dtype(f"{kind}{_bounded(description[1], MAX_ITEMSIZE, 'an itemsize')}")
    _expect(description, (str, int, bool) if kind not in "gGMm" else (str, int, bool, int) if kind in "gG" else (str, str, int, bool))
    if kind == "U":
        return np.dtype(f"{_order(description[2])}U{_bounded(description[1], MAX_ITEMSIZE // 4, 'a length')}")
    if kind == "M" or kind == "m":
        return _build_time(kind, description[1], description[2], description[3])
    if kind == "g" or kind == "G":
        return _build_long_double(kind, description[1], description[2], description[3])
    dtype = NUMBERS.get(description)
    if dtype is None:
        raise errors.bad_dtype("a kind of number and its size", description)
    return dtype


cdef object _build_extension(tuple description, bint foreign):
    """The dtype of another package: imported by a name that is written here, and nothing is called that the frame names."""
    _expect(description, (str, str, str, int))
    _, package, name, itemsize = description
    if not foreign:
        raise errors.bad_dtype("the header to announce what is imported", description)
    if package not in PACKAGES:
        raise errors.bad_dtype(f"a dtype of {' or '.join(sorted(PACKAGES))}", description)
    try:
        module = _import_module(package)
    except Exception as error:
        raise errors.dtype_not_installed(package, name, error) from error
    scalar = vars(module).get(name)
    if type(scalar) is not type or not issubclass(scalar, np.generic):
        raise errors.dtype_unknown(package, name, getattr(module, "__version__", "as it is installed"))
    dtype = np.dtype(scalar)
    if dtype.num < NPY_USERDEF or dtype.type is not scalar or PyDataType_REFCHK(dtype):
        raise errors.dtype_unknown(package, name, getattr(module, "__version__", "as it is installed"))
    if dtype.itemsize != itemsize:
        raise errors.bad_dtype(f"an itemsize of {dtype.itemsize} for {package}.{name}", itemsize)
    return dtype


cdef object _build_time(str kind, str unit, object multiple, bint big):
    if unit not in KNOWN_UNITS or not 1 <= multiple <= MAX_ITEMSIZE or (unit == "generic" and multiple != 1):
        raise errors.bad_dtype("a unit of time and a positive multiple", (unit, multiple))
    return np.dtype(f"{_order(big)}{kind}8" + ("" if unit == "generic" else f"[{multiple}{unit}]"))


cdef object _build_long_double(str kind, object itemsize, bint big, object digits):
    dtype = np.dtype(kind)
    if not LONG_DOUBLE_IS_OWN or itemsize != dtype.itemsize or digits != LDBL_MANT_DIG:
        raise errors.dtype_unavailable(
            f"{'complex numbers of two ' if kind == 'G' else ''}long doubles of {digits} mantissa bits in {itemsize} bytes"
        )
    return dtype.newbyteorder(">") if big else dtype


cdef object _build_string(tuple description):
    _expect(description[:2], (str, bool))
    if len(description) == 2:
        return STRING(coerce=description[1])
    if len(description) != 3:
        raise errors.bad_dtype("two or three fields", description)
    try:
        return STRING(coerce=description[1], na_object=description[2])
    except MemoryError:
        raise
    except Exception as error:  # NumPy compares the missing value with itself: whatever that raises
        raise errors.bad_dtype("a missing value that NumPy accepts", type(description[2])) from error


cdef object _build_subarray(tuple description, int level, Py_ssize_t* left, bint foreign):
    cdef object size
    _expect(description, (str, tuple, tuple))
    shape = description[1]
    base = _build(description[2], level + 1, left, foreign)
    if not 1 <= len(shape) <= MAX_NDIM or base.subdtype is not None:
        raise errors.bad_dtype("a shape of 1 to 64 dimensions over a dtype that is no sub-array", description)
    size = base.itemsize
    for length in shape:
        size *= _bounded(length, MAX_ITEMSIZE, "a dimension")
    _bounded(size, MAX_ITEMSIZE, "the size of a sub-array")
    return _checked((base, shape), False)


cdef object _build_struct(tuple description, int level, Py_ssize_t* left, bint foreign):
    _expect(description, (str, int, bool, bool, tuple, tuple, tuple, tuple))
    _, itemsize, aligned, record, names, titles, offsets, descriptions = description
    if not len(names) == len(titles) == len(offsets) == len(descriptions):
        raise errors.bad_dtype("as many names as titles, offsets and dtypes", [len(column) for column in description[4:]])
    _bounded(itemsize, MAX_ITEMSIZE, "an itemsize")
    cdef bint packed = not aligned
    cdef object at = 0
    formats = []
    for field in descriptions:
        formats.append(_build(field, level + 1, left, foreign))
    for name, title, offset, field in zip(names, titles, offsets, formats):
        if type(name) is not str or (title is not None and type(title) is not str):
            raise errors.bad_dtype("names and titles that are text", (name, title))
        if _bounded(offset, MAX_ITEMSIZE, "an offset") + field.itemsize > itemsize:
            raise errors.bad_dtype(f"fields within an itemsize of {itemsize}", (name, offset, field.itemsize))
        packed = packed and title is None and name != "" and offset == at
        at = offset + field.itemsize
    if packed and at == itemsize:
        parts = list(zip(names, formats))    # which NumPy takes half the time for
        dtype = _checked(parts, False)
        return _checked((RECORD, dtype), False) if record else dtype
    parts = {"names": list(names), "formats": formats, "offsets": list(offsets), "itemsize": itemsize}
    if any([title is not None for title in titles]):
        parts["titles"] = list(titles)
    dtype = _checked(parts, aligned)
    return _checked((RECORD, dtype), False) if record else dtype


cdef object _checked(object parts, bint aligned):
    """What NumPy makes of `parts`; its refusals (names met twice, a field that is not aligned) are the frame's fault."""
    try:
        return np.dtype(parts, align=aligned)
    except (TypeError, ValueError, OverflowError) as error:
        raise errors.bad_dtype(f"parts that NumPy accepts ({error})", parts) from error


cdef int _expect(tuple description, tuple types) except -1:
    cdef Py_ssize_t i
    if len(description) == len(types):
        for i in range(len(types)):
            if type(description[i]) is not types[i]:
                break
        else:
            return 0
    raise errors.bad_dtype(f"fields of the types {', '.join([t.__name__ for t in types])}", description)


cdef object _bounded(object number, Py_ssize_t most, str what):
    if type(number) is not int or not 0 <= number <= most:
        raise errors.bad_dtype(f"{what} from 0 to {most}", number)
    return number


cdef str _order(bint big):
    return ">" if big else "<"
