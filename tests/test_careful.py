"""What must not go wrong while borrowed pointers are held: other threads, finalizers, objects that were tampered with."""

import datetime as dt
import gc
import pickle
import sys
import threading
import uuid
import zoneinfo
from fractions import Fraction

import numpy as np
import pytest

import fastser


def test_other_threads_while_numpy_copies_strings():
    strings = np.array(["some text that is long enough to be allocated"] * 1400, dtype=np.dtypes.StringDType())[::2]
    data = [[[i], strings] for i in range(40)]
    stop = threading.Event()

    def mutate():
        while not stop.is_set():
            for item in data:
                item[0] = [object.__name__]

    thread = threading.Thread(target=mutate)
    thread.start()
    try:
        for _ in range(20):
            found = fastser.loads(fastser.dumps(data))
            assert all((pair[1] == strings).all() and type(pair[0]) is list for pair in found)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("count", [300, 505])
def test_small_strided_arrays_of_many_elements(count):
    arrays = [np.arange(2 * count).astype("u1")[::2] for _ in range(30)]
    found = fastser.loads(fastser.dumps(arrays))
    assert all((a == b).all() and a.dtype == b.dtype for a, b in zip(arrays, found))


def test_finalizers_wait_until_a_second_walk_is_done():
    shared = [0]
    victim = [dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(minutes=i % 700))) for i in range(3000)]

    class Clears:
        def __init__(self):
            self.me = self

        def __del__(self):
            victim.clear()

    expected = list(victim)
    threshold = gc.get_threshold()
    Clears()
    gc.set_threshold(1)
    try:
        frame = fastser.dumps([shared, [shared], victim], track_refs=False)
    finally:
        gc.set_threshold(*threshold)
    assert fastser.loads(frame)[2] in (expected, [])


@pytest.mark.parametrize("number", ["x" * 40, -1, 2**128, 1.5, None])
def test_a_uuid_that_is_none(number):
    forged = uuid.UUID(int=7)
    object.__setattr__(forged, "int", number)
    for value in (forged, [forged] * 20, [uuid.UUID(int=i) for i in range(20)] + [forged]):
        try:
            expected = pickle.loads(pickle.dumps(value, 5))
        except Exception:
            with pytest.raises(fastser.FastserError):
                fastser.loads(fastser.dumps(value))
            continue
        found = fastser.loads(fastser.dumps(value))
        last = found[-1] if type(found) is list else found
        assert last.int == (expected[-1] if type(expected) is list else expected).int == number


def test_a_uuid_that_was_never_made():
    with pytest.raises(fastser.EncodeError, match=r"cannot pack the uuid\.UUID at \$\[1\]: "):
        fastser.dumps([1, uuid.UUID.__new__(uuid.UUID)])


def test_a_zone_whose_key_is_of_a_subclass():
    class Key(str):
        pass

    try:
        zone = zoneinfo.ZoneInfo(Key("Europe/Paris"))
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this system has no time zones")
    assert fastser.loads(fastser.dumps(zone)).key == "Europe/Paris"


class Releases:
    def __reduce_ex__(self, protocol):
        buffer = pickle.PickleBuffer(bytearray(b"x" * 5000))
        return bytes, (buffer,)


def test_descriptions_do_not_raise_the_bound():
    missing = np.array(["a", "b"], dtype=np.dtypes.StringDType(na_object=Fraction(1, 3)))

    def nested(levels):
        value = []
        for _ in range(levels - 1):
            value = [value]
        return value

    fastser.dumps([missing, nested(4)], max_depth=5)
    with pytest.raises(fastser.DepthError, match="max_depth=5 was reached"):
        fastser.dumps([missing, nested(5)], max_depth=5)
    fastser.dumps([missing, nested(3)], max_depth=sys.maxsize)


def test_a_reference_is_no_level():
    x = []
    for value in ([x, [x]], [x, [x, x]], [x, [x] * 20]):
        found = fastser.loads(fastser.dumps(value, max_depth=2), max_depth=2)
        assert found[1][0] is found[0]
    loop = []
    loop.append(loop)
    found = fastser.loads(fastser.dumps(loop, max_depth=1), max_depth=1)
    assert found[0] is found


def test_out_of_band_buffers_of_a_reduce():
    assert fastser.loads(fastser.dumps([1, Releases()]))[1] == b"x" * 5000
