"""What makes an Arrow schema and its arrays well-formed: each function raises where they are not, and says where."""

from libc.stdint cimport int64_t

from fastser._core.arrow.abi cimport ArrowArray, ArrowSchema
from fastser._core.arrow.place cimport Place

# Formats, children, dictionaries, metadata, nesting.
cdef int check_schema(const ArrowSchema* schema, int depth, const Place* place) except -1

# A checked schema of a producer: whether its arrays hold values, and not addresses of objects of the process.
cdef int check_values(const ArrowSchema* schema, const Place* place) except -1

# An array of a checked schema.  Without `sizes_known` its buffers come from a producer, whose addresses are trusted; with
# it they were made by `build`, and array.private_data points to the bytes of each.  `every_value`: not only what
# lies at the ends of buffers, but all that a consumer may follow or show (only with `sizes_known`).
cdef int check_array(
    const ArrowSchema* schema, const ArrowArray* array, bint sizes_known, bint every_value, const Place* place) except -1

# The bytes of a schema's metadata; `limit`: how many there are, or -1 where only the producer knows.
cdef int64_t metadata_size(const char* metadata, int64_t limit, const Place* place) except -1

# The offset at `index`, at any alignment: 4 or 8 bytes wide.
cdef int64_t offset_at(const void* offsets, int width, int64_t index) noexcept nogil

# The end of run `index`, counted from the beginning of the array of run ends.
cdef int64_t run_end_at(const ArrowSchema* schema, const ArrowArray* run_ends, int64_t index) noexcept nogil
