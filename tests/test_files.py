"""dump and load: paths and files, frames one after the other, and what is left behind when something fails."""

import ctypes
import gzip
import io
import os
import pathlib
import signal
import socket
import stat
import sys
import tempfile
import threading
import tracemalloc

import frames
import numpy as np
import pytest

import fastser

pytestmark = pytest.mark.core

OBJECTS = [1, "text", {"a": [1.5, None, (b"bytes",)]}, [], list(range(1000)), {"array": np.arange(5000.0)}]


def assert_same(found, expected):
    assert type(found) is type(expected)
    if type(expected) is dict and "array" in expected:
        found, expected = found["array"], expected["array"]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


class Unpicklable:
    def __reduce__(self):
        raise ZeroDivisionError("no")


# --- paths -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path], ids=["str", "bytes", "PathLike"])
@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: type(obj).__name__)
def test_path(tmp_path, kind, obj):
    path = kind(tmp_path / "file")
    assert fastser.dump(obj, path) is None
    assert_same(fastser.load(path), obj)
    assert (tmp_path / "file").read_bytes() == fastser.dumps(obj)
    assert os.listdir(tmp_path) == ["file"]


def test_a_path_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fastser.dump([1], "file")
    assert fastser.load("file") == [1]


def test_options_reach_the_packer_and_the_reader(tmp_path):
    path = tmp_path / "file"
    shared = [1]
    fastser.dump([shared, shared], path, track_refs=False)
    one, other = fastser.load(path)
    assert one is not other
    fastser.dump([shared, shared], path)
    one, other = fastser.load(path)
    assert one is other
    with pytest.raises(fastser.DepthError):
        fastser.dump([[[1]]], path, max_depth=2)
    fastser.dump([[[1]]], path)
    with pytest.raises(fastser.DepthError):
        fastser.load(path, max_depth=2)
    with pytest.raises(fastser.EncodeError):
        fastser.dump(lambda: 1, path, fallback=None)
    fastser.dump(Unpicklable, path)
    assert fastser.load(path) is Unpicklable
    with pytest.raises(fastser.UnsafeDataError):
        fastser.load(path, safe=True)


def test_arrays_that_were_loaded_can_be_written_to(tmp_path):
    fastser.dump(np.zeros(5000), tmp_path / "file")
    array = fastser.load(tmp_path / "file")
    array[0] = 1
    assert array.flags.writeable
    assert fastser.load(tmp_path / "file")[0] == 0


@pytest.mark.parametrize("before", [b"", b"what was there"], ids=["new", "old"])
def test_when_packing_fails_a_path_is_as_it_was(tmp_path, before):
    path = tmp_path / "file"
    if before:
        path.write_bytes(before)
    with pytest.raises(fastser.EncodeError, match=r"\$\[1\]"):
        fastser.dump([1, Unpicklable()], path)
    assert os.listdir(tmp_path) == (["file"] if before else [])
    if before:
        assert path.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits of file sizes")
def test_when_writing_fails_a_path_is_as_it_was(tmp_path):
    import resource

    path = tmp_path / "file"
    fastser.dump("old", path)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError):
            fastser.dump(np.zeros(100_000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path) == ["file"]
    assert fastser.load(path) == "old"


def test_a_folder_that_is_not_there_is_named_by_the_callers_path(tmp_path):
    path = str(tmp_path / "none" / "file")
    with pytest.raises(FileNotFoundError) as caught:
        fastser.dump(1, path)
    assert caught.value.filename == os.path.realpath(path)
    with pytest.raises(FileNotFoundError):
        fastser.load(path)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OSError):
        fastser.dump(1, tmp_path)
    assert os.listdir(tmp_path) == []


posix = pytest.mark.skipif(os.name != "posix", reason="mode bits and links of POSIX")


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_that_open_gives(tmp_path, umask):
    old = os.umask(umask)
    try:
        open(tmp_path / "plain", "wb").close()
        fastser.dump(1, tmp_path / "file")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@posix
@pytest.mark.parametrize("mode", [0o600, 0o666, 0o751])
def test_an_old_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    fastser.dump(1, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert fastser.load(path) == 1


@posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(PermissionError):
        fastser.dump(1, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@posix
def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    fastser.dump([1], link)
    assert link.is_symlink()
    assert fastser.load(target) == [1]
    assert os.listdir(tmp_path / "folder") == ["target"]


@posix
def test_devices_and_pipes_are_written_to_not_replaced(tmp_path):
    fastser.dump(1, os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(fastser.load(pipe)))
    reader.start()
    fastser.dump(OBJECTS[-1], pipe)
    reader.join(30)
    assert_same(found[0], OBJECTS[-1])
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_old_contents_are_there_until_the_new_ones_are(tmp_path):
    path = tmp_path / "file"
    fastser.dump([0] * 1000, path)
    done = threading.Event()
    broken = []

    def read():
        while not done.is_set():
            found = fastser.load(path)
            if found != [found[0]] * 1000:
                broken.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(200):
        fastser.dump([i] * 1000, path)
    done.set()
    reader.join()
    assert broken == []


@posix
@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only root may give files away")
def test_an_old_file_keeps_its_owner_and_group(tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o4640)
    os.chown(path, 1234, 2345)
    path.chmod(0o4640)
    fastser.dump(1, path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o4640)


@posix
def test_other_names_of_a_file_keep_what_was_there(tmp_path):
    fastser.dump("old", tmp_path / "file")
    os.link(tmp_path / "file", tmp_path / "other")
    fastser.dump("new", tmp_path / "file")
    assert (fastser.load(tmp_path / "file"), fastser.load(tmp_path / "other")) == ("new", "old")


# --- mapped files ------------------------------------------------------------------------------------------------------

MODES = pytest.mark.parametrize("mode", ["r", "c"])
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the mappings of a process from /proc")


def mapping(path, key="Rss"):
    """In bytes, what of the mappings of a file is in this process's memory; None without a mapping of it."""
    found, counts = None, False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        if line.split("-")[0].isalnum() and "-" in line.split(" ")[0]:
            counts = line.endswith((str(path), f"{path} (deleted)"))
            found = (found or 0) if counts else found
        elif counts and line.startswith(f"{key}:"):
            found += int(line.split()[1]) * 1024
    return found


@MODES
@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path], ids=["str", "bytes", "PathLike"])
@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: type(obj).__name__)
def test_mapped(tmp_path, kind, obj, mode):
    path = kind(tmp_path / "file")
    fastser.dump(obj, path)
    assert_same(fastser.load(path, mmap_mode=mode), obj)
    assert_same(fastser.Serializer(safe=True).load(path, mmap_mode=mode), obj)


def test_what_is_written_to_mapped_arrays(tmp_path):
    path = tmp_path / "file"
    array = np.arange(100_000.0)
    fastser.dump([array], path)
    (shown,) = fastser.load(path, mmap_mode="r")
    (own,) = fastser.load(path, mmap_mode="c")
    assert not shown.flags.writeable
    assert own.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        shown[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
        shown.flags.writeable = True
    own[:] = -1
    np.testing.assert_array_equal(shown, array)
    np.testing.assert_array_equal(fastser.load(path)[0], array)
    np.testing.assert_array_equal(fastser.load(path, mmap_mode="c")[0], array)
    assert (own == -1).all()


@MODES
def test_what_takes_no_notice_of_read_only_writes_to_pages_of_its_own(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump([np.zeros(100_000)], path)
    before = path.read_bytes()
    array, other = (fastser.load(path, mmap_mode=mode)[0] for _ in range(2))
    ctypes.memset(array.ctypes.data, 1, 8)
    assert array[0] != 0 and other[0] == 0
    assert path.read_bytes() == before and fastser.load(path, mmap_mode=mode)[0][0] == 0


class Model:
    def __init__(self, weights):
        self.weights = weights

    def __reduce__(self):
        return Model, (self.weights,)


@linux
@MODES
def test_what_a_reducer_makes_is_written_to_without_a_copy_of_all(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump({"model": Model(np.zeros(100_000)), "x": np.zeros(1000)}, path)
    before = path.read_bytes()
    found = fastser.load(path, mmap_mode=mode)
    weights = found["model"].weights
    assert weights.sum() == 0 and found["x"].flags.writeable is (mode == "c")
    assert mapping(path, "Rss") >= weights.nbytes and mapping(path, "Anonymous") == 0
    weights += 1
    assert mapping(path, "Anonymous") >= weights.nbytes
    assert path.read_bytes() == before
    for fastser_load in (fastser.load, fastser.Serializer().load):
        assert fastser_load(path, mmap_mode=mode)["model"].weights.sum() == 0


def test_what_was_read_is_not_copied_again(tmp_path):
    path = tmp_path / "file"
    size = 40_000_000
    fastser.dump({"model": Model(np.zeros(size // 8)), "x": np.zeros(size // 8)}, path)
    for writable in (None, True, False):
        tracemalloc.start()
        found = fastser.load(path, writable=writable)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size * 2 <= peak < size * 2.1
        assert found["x"].flags.writeable is found["model"].weights.flags.writeable is (writable is not False)


@MODES
def test_writable(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump({"model": Model(np.zeros(1000)), "x": np.zeros(1000)}, path)
    before = path.read_bytes()
    found = fastser.load(path, mmap_mode=mode, writable=True)
    if sys.platform.startswith("linux"):
        assert mapping(path) is None
    found["x"] += 1
    found["model"].weights += 1
    found = fastser.Serializer(writable=False).load(path, mmap_mode=mode)
    assert not found["x"].flags.writeable and not found["model"].weights.flags.writeable
    assert found["x"].sum() == found["model"].weights.sum() == 0
    assert path.read_bytes() == before
    with pytest.raises(TypeError, match="writable must be None, True or False"):
        fastser.load(path, mmap_mode=mode, writable=1)


def huge(path, size):
    """A sparse file of a frame that holds one array of so many bytes."""
    frame = bytearray(frames.build(frames.ARRAY, 3, 0, 1, size, frames.BUFFER, buffers=[b"x"]))
    start = len(frame) - 64
    place = frame.index((1).to_bytes(8, "little"), 16)
    frame[place : place + 8] = size.to_bytes(8, "little")
    frame[8:16] = (start + size).to_bytes(8, "little")
    path.write_bytes(frame[:start])
    os.truncate(path, start + size)


@linux
@MODES
def test_a_file_larger_than_memory_is_mapped(tmp_path, mode):
    size = 1 << 42
    try:
        huge(tmp_path / "file", size)
    except OSError:
        pytest.skip("the file system has no files of this size")
    found = fastser.load(tmp_path / "file", mmap_mode=mode)
    assert found.shape == (size,) and found[-1] == found[size // 2] == 0
    assert found.flags.writeable is (mode == "c")
    ctypes.memset(found.ctypes.data + size - 1, 7, 1)
    assert found[-1] == 7 and mapping(tmp_path / "file", "Anonymous") == os.sysconf("SC_PAGE_SIZE")


@linux
@MODES
def test_a_mapping_lives_until_the_last_array_is_gone(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump({"a": np.arange(50_000), "b": np.arange(50_000.0), "c": [1, "text"]}, path)
    found = fastser.load(path, mmap_mode=mode)
    part = found["b"][10_000:20_000]
    assert mapping(path) is not None
    del found
    assert mapping(path) is not None
    np.testing.assert_array_equal(part, np.arange(10_000.0, 20_000.0))
    del part
    assert mapping(path) is None
    assert fastser.load(path, mmap_mode=mode)["c"] == [1, "text"]
    assert mapping(path) is None


@posix
@MODES
def test_a_mapped_file_may_be_deleted_and_replaced(tmp_path, mode):
    path = tmp_path / "file"
    old, new = np.arange(100_000.0), np.arange(100_000)
    fastser.dump(old, path)
    first = fastser.load(path, mmap_mode=mode)
    fastser.dump(new, path)
    second = fastser.load(path, mmap_mode=mode)
    path.unlink()
    assert os.listdir(tmp_path) == []
    np.testing.assert_array_equal(first, old)
    np.testing.assert_array_equal(second, new)


@posix
@MODES
def test_mapped_arrays_may_be_written_to_the_file_that_they_are_mapped_from(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump(np.arange(100_000.0), path)
    found = fastser.load(path, mmap_mode=mode)
    fastser.dump([found[::-1], found], path)
    np.testing.assert_array_equal(found, np.arange(100_000.0))
    back, same = fastser.load(path)
    np.testing.assert_array_equal(back, np.arange(100_000.0)[::-1])
    np.testing.assert_array_equal(same, found)


@linux
@MODES
def test_only_what_is_looked_at_is_brought_into_memory(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump({"names": ["a", "b"], "large": np.zeros(8 << 20), "more": np.zeros(8 << 20)}, path)
    found = fastser.load(path, mmap_mode=mode)
    assert found["names"] == ["a", "b"]
    assert mapping(path, "Size") >= 128 << 20
    assert mapping(path) <= 4 << 20  # a fault brings in its neighbourhood too
    found["more"][4 << 20]
    assert mapping(path) <= 8 << 20
    found["large"].sum()
    assert 64 << 20 <= mapping(path) <= 72 << 20
    assert mapping(path, "Anonymous") == 0  # nothing of it is memory of this process's own
    if mode == "c":
        found["more"][:512] = 1
        assert 4096 <= mapping(path, "Anonymous") <= 4 << 20


@posix
@MODES
def test_a_forked_child_has_a_mapping_of_its_own(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump(np.zeros(100_000), path)
    found = fastser.load(path, mmap_mode=mode)
    child = os.fork()
    if not child:
        if mode == "c":
            found[:] = 1
        os._exit(0 if found[-1] == (mode == "c") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not found.any()


@MODES
def test_the_first_frame_of_a_file_is_mapped(tmp_path, mode):
    path = tmp_path / "file"
    array = np.arange(5000.0)
    path.write_bytes(fastser.dumps(array) + fastser.dumps("second") + b"after")
    np.testing.assert_array_equal(fastser.load(path, mmap_mode=mode), array)


@MODES
def test_a_symbolic_link_is_followed(tmp_path, mode):
    fastser.dump([1, 2], tmp_path / "file")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert fastser.load(tmp_path / "link", mmap_mode=mode) == [1, 2]


@MODES
def test_files_that_cannot_be_mapped(tmp_path, mode):
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError) as caught:
        fastser.load(path, mmap_mode=mode)
    assert caught.value.filename == str(path)
    path.touch()
    with pytest.raises(EOFError, match="^expected a frame, found the end of the file$"):
        fastser.load(path, mmap_mode=mode)
    frame = fastser.dumps(np.arange(1000.0))
    for size in (1, 15, 16, 100, len(frame) - 1):
        path.write_bytes(frame[:size])
        with pytest.raises(fastser.DecodeError, match=rf"^truncated frame: expected (16|{len(frame)}) bytes, found {size}$"):
            fastser.load(path, mmap_mode=mode)
    for claimed in (0, 15, 2**62, 2**63 - 1, 2**64 - 1):
        path.write_bytes(frame[:8] + claimed.to_bytes(8, "little") + frame[16:])
        with pytest.raises(fastser.DecodeError):
            fastser.load(path, mmap_mode=mode)
    path.write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(fastser.DecodeError, match="not a fastser frame"):
        fastser.load(path, mmap_mode=mode)


@linux
@MODES
def test_nothing_stays_mapped_when_loading_fails(tmp_path, mode):
    path = tmp_path / "file"
    fastser.dump([np.zeros(5000), Plain, [[[1]]]], path)
    with pytest.raises(fastser.UnsafeDataError):
        fastser.load(path, mmap_mode=mode, safe=True)
    with pytest.raises(fastser.DepthError):
        fastser.load(path, mmap_mode=mode, max_depth=2)
    assert mapping(path) is None
    assert fastser.load(path, mmap_mode=mode, safe=True, allow=[Plain])[1] is Plain


class Plain:
    """One that safe loading may be allowed."""


@posix
@MODES
def test_only_regular_files_are_mapped(tmp_path, mode):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, os.devnull):
        with pytest.raises(OSError, match="expected a regular file, since mmap_mode is given") as caught:
            fastser.load(path, mmap_mode=mode)
        assert caught.value.filename == os.fspath(path)


@MODES
def test_only_paths_are_mapped(tmp_path, mode):
    fastser.dump(1, tmp_path / "file")
    with open(tmp_path / "file", "rb") as file:
        with pytest.raises(TypeError, match="^expected a path, since mmap_mode is given, found BufferedReader$"):
            fastser.load(file, mmap_mode=mode)
    with pytest.raises(TypeError, match="^expected a path, since mmap_mode is given, found int$"):
        fastser.load(3, mmap_mode=mode)


@pytest.mark.parametrize("mode", ["r+", "w+", "", True, 0, b"r"], ids=repr)
def test_other_modes_are_refused(tmp_path, mode):
    fastser.dump(1, tmp_path / "file")
    with pytest.raises(TypeError, match="^mmap_mode must be None, 'r' or 'c', not "):
        fastser.load(tmp_path / "file", mmap_mode=mode)


# --- files -------------------------------------------------------------------------------------------------------------


def test_frames_follow_one_another():
    file = io.BytesIO()
    for obj in OBJECTS:
        assert fastser.dump(obj, file) is None
    assert file.getvalue() == b"".join(map(fastser.dumps, OBJECTS))
    file.seek(0)
    for obj in OBJECTS:
        assert_same(fastser.load(file), obj)
    for _ in range(2):
        with pytest.raises(EOFError, match="^expected a frame, found the end of the file$"):
            fastser.load(file)


def test_a_frame_is_read_and_not_a_byte_more():
    file = io.BytesIO(b"before" + fastser.dumps(OBJECTS[-1]) + b"after")
    file.seek(6)
    assert_same(fastser.load(file), OBJECTS[-1])
    assert file.read() == b"after"


def opened(tmp_path, buffering):
    return open(tmp_path / "file", "w+b", buffering=buffering)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: open(path / "file", "w+b"),
        lambda path: open(path / "file", "w+b", buffering=0),
        lambda path: tempfile.TemporaryFile(),
        lambda path: tempfile.NamedTemporaryFile(),
        lambda path: io.BufferedRandom(io.FileIO(path / "file", "w+b"), buffer_size=1),
        pytest.param(
            lambda path: tempfile.SpooledTemporaryFile(max_size=100),
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="has no readinto there"),
        ),
    ],
)
def test_kinds_of_files(tmp_path, make):
    with make(tmp_path) as file:
        for obj in OBJECTS:
            fastser.dump(obj, file)
        file.seek(0)
        for obj in OBJECTS:
            assert_same(fastser.load(file), obj)
        with pytest.raises(EOFError):
            fastser.load(file)


def test_compressed_files(tmp_path):
    with gzip.open(tmp_path / "file", "wb") as file:
        for obj in OBJECTS:
            fastser.dump(obj, file)
    with gzip.open(tmp_path / "file") as file:
        for obj in OBJECTS:
            assert_same(fastser.load(file), obj)
        with pytest.raises(EOFError):
            fastser.load(file)


@pytest.mark.parametrize("buffering", [0, -1])
def test_sockets(buffering):
    here, there = socket.socketpair()
    big = {"array": np.arange(500_000.0)}
    with here, there, here.makefile("wb", buffering=buffering) as out, there.makefile("rb", buffering=buffering) as back:

        def send():
            for obj in [*OBJECTS, big]:
                fastser.dump(obj, out)
            out.flush()
            here.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        for obj in [*OBJECTS, big]:
            assert_same(fastser.load(back), obj)
        with pytest.raises(EOFError):
            fastser.load(back)
        sender.join()


class Trickle(io.RawIOBase):
    """A file that takes and gives a few bytes at a time, as sockets may."""

    def __init__(self, content=b"", step=7):
        self.content, self.position, self.step = bytearray(content), 0, step

    def readable(self):
        return True

    writable = readable

    def write(self, data):
        piece = bytes(data[: self.step])
        self.content += piece
        return len(piece)

    def readinto(self, view):
        piece = self.content[self.position : self.position + min(self.step, len(view))]
        view[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_short_reads_and_writes(step):
    file = Trickle(step=step)
    for obj in OBJECTS[:-1]:
        fastser.dump(obj, file)
    assert bytes(file.content) == b"".join(map(fastser.dumps, OBJECTS[:-1]))
    for obj in OBJECTS[:-1]:
        assert_same(fastser.load(file), obj)
    with pytest.raises(EOFError):
        fastser.load(file)


class Sink:
    """No file of io's: write returns nothing, as with many wrappers."""

    def __init__(self):
        self.content = b""

    def write(self, data):
        self.content += data


def test_a_file_whose_write_returns_nothing_has_written_all():
    sink = Sink()
    fastser.dump(OBJECTS[-1], sink)
    assert sink.content == fastser.dumps(OBJECTS[-1])


def test_a_file_that_takes_nothing_is_an_error():
    with pytest.raises(OSError, match=r"^the file accepted no more bytes: \d+ of the buffer being written were left$"):
        fastser.dump(1, Trickle(step=0))


@pytest.mark.skipif(os.name != "posix", reason="pipes in non-blocking mode")
def test_files_that_would_block():
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    with open(read, "rb", buffering=0) as back, open(write, "wb", buffering=0) as out:
        with pytest.raises(BlockingIOError, match="would block on reading"):
            fastser.load(back)
        with pytest.raises(BlockingIOError, match="would block on writing"):
            fastser.dump(np.zeros(10**6), out)


def test_when_packing_fails_nothing_is_written():
    file = io.BytesIO()
    fastser.dump(1, file)
    before = file.getvalue()
    with pytest.raises(fastser.EncodeError):
        fastser.dump([np.zeros(10_000), Unpicklable()], file)
    assert file.getvalue() == before
    fastser.dump(2, file)
    file.seek(0)
    assert [fastser.load(file), fastser.load(file)] == [1, 2]


def test_when_writing_fails_its_error_comes_through():
    class Full(Sink):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        fastser.dump(1, Full())


@pytest.mark.parametrize("found", [None, 3, [], object()], ids=repr)
def test_neither_path_nor_file(found):
    name = type(found).__name__
    with pytest.raises(TypeError, match=rf"^expected a path or a binary file with write\(\), found {name}$"):
        fastser.dump(1, found)
    with pytest.raises(TypeError, match=rf"^expected a path or a binary file with readinto\(\), found {name}$"):
        fastser.load(found)


def test_text_files(tmp_path):
    with open(tmp_path / "file", "w+") as file:
        with pytest.raises(TypeError):
            fastser.dump(1, file)
        with pytest.raises(TypeError, match=r"binary file with readinto\(\), found TextIOWrapper"):
            fastser.load(file)


# --- what is not a frame -----------------------------------------------------------------------------------------------


def test_every_truncation_is_a_decode_error():
    frame = fastser.dumps({"a": [1, 2.5, "text"], "array": np.arange(100.0)})
    for size in range(1, len(frame)):
        with pytest.raises(fastser.DecodeError, match=rf"^truncated frame: expected (16|{len(frame)}) bytes, found {size}$"):
            fastser.load(io.BytesIO(frame[:size]))


def test_a_truncated_file_of_known_size(tmp_path):
    frame = fastser.dumps(np.arange(5000.0))
    (tmp_path / "file").write_bytes(frame[:-1])
    with pytest.raises(fastser.DecodeError, match=f"^truncated frame: expected {len(frame)} bytes, found {len(frame) - 1}$"):
        fastser.load(tmp_path / "file")


@pytest.mark.parametrize("content", [b"x", b"PK\3\4" + bytes(100), b"\x80\x05K\x01." * 5, bytes(16), b"\xff" * 16])
def test_other_formats_are_decode_errors(content, tmp_path):
    with pytest.raises(fastser.DecodeError, match="not a fastser frame: expected .* at offset 0, found "):
        fastser.load(io.BytesIO(content))
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(fastser.DecodeError, match="not a fastser frame"):
        fastser.load(tmp_path / "file")


def test_an_empty_file_is_at_its_end(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EOFError):
        fastser.load(tmp_path / "file")


class Nameless(Trickle):
    """A file that does not tell its size."""


@pytest.mark.parametrize("claimed", [2**20, 2**33, 2**62, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("where", ["path", "file"])
def test_a_claimed_length_allocates_no_more_than_there_is(claimed, where, tmp_path):
    frame = bytearray(fastser.dumps([1, 2, 3]))
    frame[8:16] = claimed.to_bytes(8, "little")
    (tmp_path / "file").write_bytes(frame)
    file = tmp_path / "file" if where == "path" else Nameless(frame, step=100)
    tracemalloc.start()
    try:
        with pytest.raises(fastser.DecodeError):
            fastser.load(file)
        assert tracemalloc.get_traced_memory()[1] < 3 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [2**20 - 32, 2**20, 2**20 + 1, 5 * 2**20 + 3])
def test_frames_beyond_the_first_step(size):
    data = np.random.default_rng(1).bytes(size)
    frame = fastser.dumps(data)
    file = Nameless(frame + b"after", step=2**18)
    assert fastser.load(file) == data
    assert file.position == len(frame)


# --- memory ------------------------------------------------------------------------------------------------------------


def test_dump_copies_no_large_buffer(tmp_path):
    array = np.ones(4_000_000)
    fastser.dump([1], tmp_path / "file")
    tracemalloc.start()
    try:
        fastser.dump({"array": array}, tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.reset_peak()
        found = fastser.load(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 33 * 10**6
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found["array"], array)


def test_nothing_holds_the_object_once_it_is_written(tmp_path):
    data = bytearray(10_000)
    fastser.dump(data, tmp_path / "file")
    fastser.dump(data, io.BytesIO())
    data += b"more"  # a bytearray cannot grow while its buffer is held
    assert fastser.load(tmp_path / "file") == bytes(10_000)
