"""The grammar of a packed object: tags, limits and the format version.

A value is a run of one.  Every production is ``items(n)``: one tag byte, its
operands, and a payload for n items.  Operands are unsigned LEB128 varints that
follow the tag in the ``tags`` column; payloads lie in the other columns.
docs/format.md describes each production in words.
"""

cdef enum:
    FORMAT_VERSION = 1

    # Header flags.
    FLAG_LARGE = 1        # offsets and lengths have 64 bits
    FLAG_REFS = 2         # the frame refers back to numbered objects
    FLAG_FOREIGN = 4      # Python code runs while the frame is read: classes to import, parts to call, time zones to look up
    FLAGS_KNOWN = 7

    # The columns, in the order of the frame and of the Arrow row.
    COLUMN_BUFFERS = 0
    COLUMN_I64 = 1
    COLUMN_F64 = 2
    COLUMN_I32 = 3
    COLUMN_TEXT = 4
    COLUMN_DATA = 5
    COLUMN_I16 = 6
    COLUMN_I8 = 7
    COLUMN_BITS = 8
    COLUMN_TAGS = 9
    COLUMN_COUNT = 10

    # Bodies at or above these sizes are referenced, not copied into `data`.
    # Arrays: the padding to 64 bytes must stay small beside what pickle spends on an array.
    # Bytes and text: the padding must stay below the 5 % that a frame may exceed pickle by.
    ARRAY_BODY_MIN = 512
    BYTES_BODY_MIN = 4096
    LEND_MIN = 128        # text and bytes that are not copied before the frame is written
    BODY_ALIGNMENT = 64
    DATA_ALIGNMENT = 16   # of the data bytes within the frame: numpy's widest dtype wants 16

    # Scalars without payload.
    TAG_NONE = 1
    TAG_FALSE = 2
    TAG_TRUE = 3
    TAG_ELLIPSIS = 4
    TAG_NOT_IMPLEMENTED = 5

    # Numbers.
    TAG_BOOLS = 6         # bits(n)
    TAG_INT8 = 8          # n of i8
    TAG_INT16 = 9
    TAG_INT32 = 10
    TAG_INT64 = 11
    TAG_BIG_INT = 12      # n of data: two's complement, little-endian
    TAG_FLOAT = 13        # n of f64
    TAG_COMPLEX = 14      # 2n of f64

    # Text and bytes.
    TAG_TEXT = 16         # n of text
    TAG_SURROGATE_TEXT = 17   # n of data: UTF-8 with surrogates passed through
    TAG_TEXT_REF = 18     # n varints: an earlier item of text
    TAG_BYTES = 19        # n of data
    TAG_BYTEARRAY = 20    # n of data; numbered
    TAG_BODY_TEXT = 21    # n bodies, UTF-8
    TAG_BODY_BYTES = 22   # n bodies
    TAG_BODY_BYTEARRAY = 23   # n bodies; numbered

    # Times.
    TAG_DATETIME = 24     # n of i64: microseconds since 1970-01-01, wall clock, fold 0, no zone
    TAG_DATETIME_ZONED = 25   # varint fold, value zone or None, then as DATETIME
    TAG_DATE = 26         # n of i32: days since 1970-01-01
    TAG_TIME = 27         # n of i64: microseconds since midnight
    TAG_TIME_ZONED = 28   # varint fold, value zone or None, then as TIME
    TAG_TIMEDELTA = 29    # n of i64: microseconds
    TAG_LONG_TIMEDELTA = 30   # n of i32 days, n of i32 seconds, n of i32 microseconds
    TAG_UTC = 31
    TAG_TIMEZONE = 32     # items(n) offsets, items(n) names; numbered
    TAG_ZONEINFO = 33     # n of text: keys; numbered

    # Other standard values.
    TAG_DECIMAL = 34      # n of text
    TAG_UUID = 35         # varint is_safe, one of data: n times 16 bytes, big-endian
    TAG_RANGE = 36        # items(n) start, items(n) stop, items(n) step
    TAG_SLICE = 37        # items(n) start, items(n) stop, items(n) step

    # Containers; all numbered.
    TAG_LIST = 40         # lengths(n), items(total)
    TAG_TUPLE = 41
    TAG_SET = 42
    TAG_FROZENSET = 43
    TAG_DICT = 44         # lengths(n), items(total) keys, items(total) values
    TAG_RECORDS = 45      # shape, then items(n) for each key
    TAG_LIST_ROWS = 46    # varint width, then items(n) for each position
    TAG_TUPLE_ROWS = 47
    TAG_NAMED_ROWS = 48   # varint width, callable, then items(n) for each position

    # Instances of users' classes; numbered.
    TAG_INSTANCES = 49    # varint 0 (no fields), or 1 + slots among the fields and a shape; callable; then items(n) for each field

    # NumPy; arrays numbered.
    TAG_ARRAY = 50        # dtype, varint order, varint ndim, ndim varints, n bodies
    TAG_ARRAY_RUN = 51    # dtype, order, ndim, shape, one body for all n
    TAG_OBJECT_ARRAY = 52  # dtype, order, ndim, shape, items(n * size)
    TAG_SCALAR = 53       # dtype, one of data: n times itemsize

    # What runs Python code when it is read; numbered (calls, templates and hooks once they are made).
    TAG_GLOBAL = 54       # n times two of text: module, qualified name (empty: the module itself)
    TAG_CALL = 55         # varint parts, callable, arguments, then what the parts tell of
    TAG_TEMPLATE = 56     # varint kind, arguments as of CALL
    TAG_HOOK = 57         # one of text: name, then items(n)
    TAG_MEMORY = 58       # n bodies: what was a PickleBuffer
    TAG_ARROW = 59        # items(n): descriptions; then n times: varint number of buffers, that many bodies

    # Structure.
    TAG_GENERIC = 60      # n values
    TAG_CONCAT = 61       # varint k, items(k), items(n - k)
    TAG_NULLABLE = 62     # bits(n), items(n): where the bit is 0 the item is None
    TAG_GROUPS = 63       # varint g, index, then g times (varint m, items(m))
    TAG_INDEXED = 64      # varint m, items(m); where m > 1 n indices below m, coded as lengths are
    TAG_REF = 65          # n numbers of earlier objects, coded as lengths are
    TAG_OPTIONAL = 66     # value, bits(n), items(n): where the bit is 0 the item is that value

    TAG_FROZENDICT = 67   # n frozendicts, as DICT or RECORDS has n dicts; numbered

    TAG_ARRAYS_OF = 68    # varint form, callable, with MASKED_OF another one, items(n) arrays, of masked ones items(n) masks, items(n) fill values; numbered
    TAG_DTYPE = 69        # n dtypes

    TAG_SMALL_INT = 128   # 128 + v stands for the integer v in 0..127, n must be 1

    # Where a body lies.
    BODY_INLINE = 0       # the last bytes of the next item of data
    BODY_BUFFER = 1       # the next of buffers
    BODY_SAME = 2         # varint: an earlier one of buffers (text and bytes)
    BODY_OF = 3           # varint: the memory of the array with that number (arrays)
    BODY_PADDED = 4       # varint: so many bytes of the next item of data come before it (memory, whose size nothing else tells)
    BODY_COPY = 5         # the next of buffers; what a call makes may write to it (arrays and memory)

    # What the arrays of a class are made as.
    FORM_PLAIN = 0        # by the class alone
    FORM_MASKED = 1       # as NumPy's masked arrays, over ndarrays
    FORM_MASKED_OF = 2    # over arrays of the class that follows

    # What a reducer told beside a callable and its arguments.
    PART_STATE = 1        # items(n)
    PART_LIST_ITEMS = 2   # lengths(n), items(total)
    PART_DICT_ITEMS = 4   # lengths(n), items(total) keys, items(total) values
    PART_SETTER = 8       # callable: puts the state into the object
    PART_NEW = 16         # the callable is a class, its __new__ is called
    PART_FRAME = 32       # a table or index of pandas', whose arrays stay views
    PARTS_KNOWN = 63

    # How lengths and indices of more than one item are coded; else the item size in bytes.
    LENGTHS_CONSTANT = 0  # one varint, at least 1

    # Limits.
    MAX_SHAPE_KEYS = 256  # wider dicts are keys followed by values
    MAX_GROUPS = 256
    ARROW_LEVELS = 256            # of tuples in a description of Arrow data, at most; likewise
    DTYPE_LEVELS = 100    # more than a dtype's description has, which are none of the user's
