"""verify=True: nothing is handed out that cannot be read again, and the error says which part it is."""

import io
import re

import pytest

import fastser
from fastser import EncodeError, ObjectStore, Serializer

pytestmark = pytest.mark.core


class NeedsMore(Exception):
    """As many exceptions are: their reducer gives what they were made with by Exception."""

    def __init__(self, one, other):
        super().__init__(one)


class Table(dict):
    """Takes no items."""

    def __setitem__(self, key, value):
        raise ZeroDivisionError("no items")


class State:
    def __setstate__(self, state):
        raise KeyError("no state")

    def __getstate__(self):
        return 1


def table():
    made = Table()
    dict.__setitem__(made, 1, 2)
    return made


def closure():
    held = NeedsMore(1, 2)
    return lambda: held


class Fields:
    def __init__(self, **fields):
        self.__dict__.update(fields)


CASES = {
    "root": (lambda: NeedsMore(1, 2), "test_verify.NeedsMore at $", TypeError),
    "list": (lambda: [1, 2, NeedsMore(1, 2)], "test_verify.NeedsMore at $[2]", TypeError),
    "run": (lambda: {"a": [NeedsMore(i, 2) for i in range(50)]}, "test_verify.NeedsMore at $.a[0]", TypeError),
    "dict": (lambda: {"a": {"b c": (NeedsMore(1, 2),)}}, "test_verify.NeedsMore at $.a['b c'][0]", TypeError),
    "fields": (lambda: [Fields(x=1, y=[State()])], "test_verify.State at $[0].y[0]", KeyError),
    "items": (lambda: [table()], "test_verify.Table at $[0]", ZeroDivisionError),
    "argument": (lambda: ValueError([NeedsMore(1, 2)]), "test_verify.NeedsMore at $.args[0][0]", TypeError),
    "closure": (lambda: {"job": closure()}, "test_verify.NeedsMore at $.job.__closure__[0].cell_contents", TypeError),
}


@pytest.mark.parametrize("make, where, cause", CASES.values(), ids=CASES)
def test_what_cannot_be_loaded_is_not_handed_out(make, where, cause, tmp_path):
    obj = make()
    message = f"^the {re.escape(where)} was packed, but cannot be loaded again: .*{cause.__name__}"
    store = ObjectStore.create()
    path = tmp_path / "file"
    path.write_bytes(b"as it was")
    with store:
        for pack in (
            lambda: fastser.dumps(obj, verify=True),
            lambda: fastser.pack(obj, verify=True),
            lambda: fastser.dump(obj, path, verify=True),
            lambda: fastser.dump(obj, io.BytesIO(), verify=True),
            lambda: store.put(obj, key="taken", verify=True),
            lambda: Serializer(verify=True).dumps(obj),
            lambda: Serializer(verify=True).pack(obj),
            lambda: Serializer(verify=True).dump(obj, path),
        ):
            with pytest.raises(EncodeError, match=message) as caught:
                pack()
            assert isinstance(caught.value.__cause__, fastser.DecodeError)
            assert isinstance(caught.value.__cause__.__cause__, cause)
        assert path.read_bytes() == b"as it was" and [*tmp_path.iterdir()] == [path]
        assert store.refs() == []
        assert store.get(store.put(1, key="taken", verify=True)) == 1
    assert type(fastser.dumps(obj)) is bytes  # nobody asked


def test_what_can_be_loaded_is_as_ever():
    shared = [1]
    obj = {"a": [shared, shared], "f": Fields(x=2), "text": "é" * 5000}
    assert fastser.dumps(obj, verify=True) == fastser.dumps(obj)
    assert fastser.pack(obj, verify=True).to_bytes() == fastser.dumps(obj)
    file = io.BytesIO()
    fastser.dump(obj, file, verify=True)
    assert file.getvalue() == fastser.dumps(obj)


def test_hooks_of_a_serializer_are_those_that_read_back():
    def refuse(content):
        raise ZeroDivisionError("not again")

    serializer = Serializer(verify=True)
    serializer.register(Fields, lambda fields: fields.__dict__, refuse, name="fields")
    with pytest.raises(EncodeError, match=r"^the test_verify.Fields at \$\[1\] was packed, but cannot be loaded again: .*not again"):
        serializer.dumps([1, Fields(x=1)])


def test_what_leads_back_to_itself():
    loop = [1]
    loop += [loop, {"a": NeedsMore(1, 2)}]
    with pytest.raises(EncodeError, match=r"NeedsMore at \$\[2\]\.a was packed"):
        fastser.dumps(loop, verify=True)


def test_an_object_as_deep_as_may_be_is_read_back():
    obj = 1
    for _ in range(999):
        obj = [obj]
    assert fastser.dumps(obj, verify=True) == fastser.dumps(obj)
