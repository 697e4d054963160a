"""What the object store asks of the system: memory mapped from its files, and locks on them.

A lock (``flock``) belongs to the open file description, and a mapping keeps that open when its descriptor is closed: who maps
a file under a shared lock holds the lock until the mapping is gone, in every process that inherited it, and no descriptor is
spent on it. So the kernel counts who views what, and forgets the dead.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, ENOENT, errno
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset, strlen

cdef extern from *:
    """
    #include <errno.h>
    #include <stddef.h>
    #include <stdint.h>

    typedef struct {
        uint64_t magic;
        uint64_t length;
        char name[112];
    } fastser_segment_header;

    #if defined(__linux__)
    #include <fcntl.h>
    #include <sys/file.h>
    #include <sys/mman.h>
    #include <unistd.h>
    #define FASTSER_HAS_STORE 1

    static int fastser_flock(int fd, int exclusive, int wait) {
        return flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB));
    }
    static int fastser_funlock(int fd) { return flock(fd, LOCK_UN); }

    static void *fastser_map(void *at, size_t size, int fd, int writable, int shared, int populate) {
        /* Private pages that nobody writes to are the file's: no memory is set aside for copies that are hardly ever made. */
        return mmap(at, size, PROT_READ | (writable ? PROT_WRITE : 0),
                    (shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE) | (at ? MAP_FIXED : 0) | (populate ? MAP_POPULATE : 0), fd, 0);
    }
    static void fastser_unmap(void *at, size_t size) { munmap(at, size); }

    static int fastser_open(int directory, const char *name) {
        return openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    }
    static int64_t fastser_file_size(int fd) {
        /* Not fstat, which a wheel built with a new glibc would not find in an old one. */
        int64_t size = lseek(fd, 0, SEEK_END);
        return size < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -1 : size;
    }
    static void fastser_touch(int fd) {
        const struct timespec times[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
        (void) futimens(fd, times);
    }
    #else
    #define FASTSER_HAS_STORE 0
    #include <stdlib.h>
    static int fastser_absent(void) { errno = ENOSYS; return -1; }
    #define fastser_flock(fd, exclusive, wait) fastser_absent()
    #define fastser_funlock(fd) fastser_absent()
    #define fastser_map(at, size, fd, writable, shared, populate) (fastser_absent(), (void *) -1)
    #define fastser_unmap(at, size) ((void) 0)
    #define fastser_open(directory, name) fastser_absent()
    #define fastser_file_size(fd) ((int64_t) fastser_absent())
    #define fastser_touch(fd) ((void) 0)
    #define read(fd, data, size) fastser_absent()
    #define close(fd) fastser_absent()
    #endif
    #define FASTSER_MAP_FAILED ((void *) -1)
    #define FASTSER_SEGMENT_MAGIC 0x316a626f72736663ull
    """
    ctypedef struct fastser_segment_header:
        uint64_t magic
        uint64_t length
        char name[112]
    int FASTSER_HAS_STORE
    void* FASTSER_MAP_FAILED
    uint64_t FASTSER_SEGMENT_MAGIC
    int EAGAIN, EWOULDBLOCK, ENOMEM
    int fastser_flock(int fd, int exclusive, int wait) nogil
    int fastser_funlock(int fd) nogil
    void* fastser_map(void* at, size_t size, int fd, int writable, int shared, int populate) nogil
    void fastser_unmap(void* at, size_t size) nogil
    int fastser_open(int directory, const char* name) nogil
    long long fastser_file_size(int fd) nogil
    void fastser_touch(int fd) nogil
    Py_ssize_t read(int fd, void* data, size_t size) nogil
    int close(int fd) nogil

cdef enum:
    SMALL_LIMIT = 32 << 10        # below, reading a file is faster than mapping it
    NOGIL_MIN = 1 << 20           # below, giving up the GIL costs more than unmapping

AVAILABLE = bool(FASTSER_HAS_STORE)
SMALL = SMALL_LIMIT
HEADER = sizeof(fastser_segment_header)
NAME_LIMIT = 111


@cython.final
@cython.no_gc_clear
@cython.auto_pickle(False)
cdef class Mapping:
    """Memory of a file; lends what lies from ``start`` on, ``length`` bytes. Unmapped with its last view.

    Parameters
    ----------
    fd : int
        Open for what the mapping is for. It can be closed afterwards; a lock that it holds lives on with the mapping.
    size : int
        How much of the file is mapped.
    start, length : int
        What the buffer protocol hands out.
    writable : bool
        Whether through it the file can be changed.
    private : bool
        Whether it can be written to and the file stays as it is. Where the system does not even promise the memory for that, it
        is read-only.
    populate : bool
        Whether to enter all pages into the page table at once.

    Examples
    --------
    >>> import tempfile
    >>> from fastser._core.store.shared import Mapping
    >>> with tempfile.TemporaryFile() as file:
    ...     _ = file.write(b"some text")
    ...     file.flush()
    ...     mapping = Mapping(file.fileno(), 9, 5, 4)
    >>> bytes(mapping)
    b'text'
    """

    cdef char* address
    cdef Py_ssize_t size, start, length
    cdef bint readonly
    cdef object __weakref__

    def __cinit__(
        self, int fd, Py_ssize_t size, Py_ssize_t start, Py_ssize_t length, *, bint writable=False, bint private=False, bint populate=False
    ):
        cdef void* address
        self.size = size
        self.start = start
        self.length = length
        self.readonly = not writable and not private
        with nogil:
            address = fastser_map(NULL, size, fd, writable or private, not private, populate)
        if address == FASTSER_MAP_FAILED and private and errno == ENOMEM:
            # The process may not have more memory of its own, or the system is told to promise none that it does not have.
            self.readonly = True
            address = fastser_map(NULL, size, fd, False, False, populate)
        if address == FASTSER_MAP_FAILED:
            PyErr_SetFromErrno(OSError)
        self.address = <char*> address

    def __dealloc__(self):
        self._unmap()

    cdef void _unmap(self) noexcept:
        cdef char* address = self.address
        cdef Py_ssize_t size = self.size
        self.address = NULL
        if address == NULL:
            return
        if size >= NOGIL_MIN:
            with nogil:
                fastser_unmap(address, size)
        else:
            fastser_unmap(address, size)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if self.address == NULL:
            raise BufferError("the memory is not mapped any more")
        if flags & PyBUF_WRITABLE and self.readonly:
            raise BufferError("this memory is read-only")
        buffer.obj = self
        buffer.buf = self.address + self.start
        buffer.len = self.length
        buffer.itemsize = 1
        buffer.readonly = self.readonly
        buffer.ndim = 1
        buffer.format = NULL
        if flags & PyBUF_FORMAT:
            buffer.format = b"B"
        buffer.shape = &self.length if flags & PyBUF_ND else NULL
        buffer.strides = &buffer.itemsize if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL

    def unmap(self):
        """Unmap now. For who knows that no view is left, or that nobody will touch one: a child after fork."""
        self._unmap()

    def replace(self, int fd, *, bint shared):
        """Put the file ``fd`` in the place of what is mapped, for all views at once.

        With ``shared=False`` writes stay private from now on; the memory keeps what it holds if it is the same file.
        """
        if fastser_map(self.address, self.size, fd, True, shared, False) == FASTSER_MAP_FAILED:
            PyErr_SetFromErrno(OSError)


def lock(int fd, *, bint exclusive, bint wait=True):
    """Lock an open file; return whether it is locked, which with ``wait=False`` it may not be."""
    cdef int status
    while True:
        status = fastser_flock(fd, exclusive, False)   # the lock is free nearly always: the GIL is kept
        if status < 0 and wait and (errno == EAGAIN or errno == EWOULDBLOCK):
            with nogil:
                status = fastser_flock(fd, exclusive, True)
        if status == 0:
            return True
        if errno == EAGAIN or errno == EWOULDBLOCK:
            return False
        if errno != EINTR:
            PyErr_SetFromErrno(OSError)
        PyErr_CheckSignals()


def unlock(int fd):
    """Release the lock of an open file, for everybody who shares its open file description."""
    if fastser_funlock(fd) < 0:
        PyErr_SetFromErrno(OSError)


def segment_header(str name, Py_ssize_t length):
    """What a segment begins with: whose it is, and how long the frame behind it is."""
    cdef fastser_segment_header header
    cdef bytes encoded = name.encode("ascii")
    if len(encoded) > NAME_LIMIT:
        raise ValueError("the name of an object is too long")
    memset(&header, 0, sizeof(header))
    header.magic = FASTSER_SEGMENT_MAGIC
    header.length = length
    memcpy(header.name, PyBytes_AS_STRING(encoded), len(encoded))
    return PyBytes_FromStringAndSize(<char*> &header, sizeof(header))


def fetch(int directory, str name, *, bint private=False, bint touch=False):
    """The frame of a sealed object, without a copy unless it is small; None where there is none of this name.

    Parameters
    ----------
    directory : int
        Descriptor of the directory of the file.
    name : str
    private : bool
        Hand out memory that can be written to. Nobody else sees what is, in any case.
    touch : bool
        Note that it was used.

    Returns
    -------
    bytes, bytearray, Mapping or None
    """
    cdef bytes encoded = name.encode("ascii")
    cdef const char* path = PyBytes_AS_STRING(encoded)
    cdef int fd
    fd = fastser_open(directory, path)
    if fd < 0:
        if errno == ENOENT:
            return None
        PyErr_SetFromErrno(OSError)
    try:
        if touch:
            fastser_touch(fd)
        size = fastser_file_size(fd)
        if 0 < size < SMALL_LIMIT:
            return _read(fd, size, private)
        lock(fd, exclusive=False)
        # Between opening and locking, the segment may have been freed or filled anew. Now it stays as it is.
        return _map(fd, path, fastser_file_size(fd), private)
    finally:
        close(fd)


cdef object _read(int fd, Py_ssize_t size, bint private):
    cdef object frame
    cdef char* out
    if private:
        frame = PyByteArray_FromStringAndSize(NULL, size)
        out = PyByteArray_AS_STRING(frame)
    else:
        frame = PyBytes_FromStringAndSize(NULL, size)
        out = PyBytes_AS_STRING(frame)
    cdef Py_ssize_t filled = read(fd, out, size)
    if filled < 0:
        PyErr_SetFromErrno(OSError)
    return frame[:filled] if filled < size else frame


cdef object _map(int fd, const char* path, Py_ssize_t size, bint private):
    cdef Mapping mapping
    cdef fastser_segment_header* header
    if size < SMALL_LIMIT:
        return None
    # C code that takes no notice of what is read-only gets pages of its own, too: neither does it die, nor does anybody else see it.
    mapping = Mapping.__new__(Mapping, fd, size, sizeof(fastser_segment_header), 0, private=True)
    header = <fastser_segment_header*> mapping.address
    if header.magic != FASTSER_SEGMENT_MAGIC or memcmp(header.name, path, strlen(path) + 1) != 0:
        return None
    mapping.length = min(<uint64_t> (size - <Py_ssize_t> sizeof(fastser_segment_header)), header.length)
    if not private:
        mapping.readonly = True
    return mapping
