"""Serializer: the functions with their options chosen once."""

import copy
import dataclasses
import io
import pickle

import pytest

import fastser

pytestmark = pytest.mark.core


def shared_pair():
    shared = [1]
    return [shared, shared]


def test_defaults_are_those_of_the_functions():
    serializer = fastser.Serializer()
    pair = shared_pair()
    assert serializer.dumps(pair) == fastser.dumps(pair)
    one, other = serializer.loads(serializer.dumps(pair))
    assert one is other
    assert repr(serializer) == "Serializer(track_refs=True, max_depth=1000, fallback='cloudpickle', verify=False, writable=None, safe=False, allow=())"


def test_every_function(tmp_path):
    serializer = fastser.Serializer(track_refs=False)
    pair = shared_pair()
    frame = fastser.dumps(pair, track_refs=False)
    assert serializer.dumps(pair) == frame
    packed = serializer.pack(pair)
    assert type(packed) is fastser.Packed
    assert packed.to_bytes() == frame
    file = io.BytesIO()
    assert serializer.dump(pair, file) is None
    assert file.getvalue() == frame
    serializer.dump(pair, tmp_path / "file")
    for one, other in (serializer.loads(frame), serializer.loads(packed), serializer.load(tmp_path / "file")):
        assert one == other == [1]
        assert one is not other


def test_max_depth_holds_both_ways():
    serializer = fastser.Serializer(max_depth=2)
    deep = [[[1]]]
    for function in (serializer.dumps, serializer.pack, lambda obj: serializer.dump(obj, io.BytesIO())):
        with pytest.raises(fastser.DepthError):
            function(deep)
    frame = fastser.dumps(deep)
    for function in (serializer.loads, lambda frame: serializer.load(io.BytesIO(frame))):
        with pytest.raises(fastser.DepthError):
            function(frame)
    assert serializer.loads(serializer.dumps([[1]])) == [[1]]


class Foreign:
    pass


def test_fallback_and_safe():
    native = fastser.Serializer(fallback=None)
    for function in (native.dumps, native.pack, lambda obj: native.dump(obj, io.BytesIO())):
        with pytest.raises(fastser.EncodeError, match="lambda"):
            function([lambda: 1])
    frame = fastser.dumps([Foreign()])
    safe = fastser.Serializer(safe=True)
    for function in (safe.loads, lambda frame: safe.load(io.BytesIO(frame))):
        with pytest.raises(fastser.UnsafeDataError):
            function(frame)
    for reader in (fastser.Serializer(fallback="pickle"), fastser.Serializer(safe=True, allow=[Foreign])):
        assert type(reader.loads(frame)[0]) is Foreign


def test_options_are_given_by_name():
    with pytest.raises(TypeError):
        fastser.Serializer(False)
    with pytest.raises(TypeError):
        fastser.Serializer(depth=3)


@pytest.mark.parametrize(
    "options", [{"fallback": "json"}, {"fallback": 1}, {"max_depth": "deep"}, {"max_depth": None}, {"allow": 3}], ids=repr
)
def test_wrong_options_are_refused_at_once(options):
    with pytest.raises((TypeError, ValueError)):
        fastser.Serializer(**options)


def test_it_cannot_be_changed():
    serializer = fastser.Serializer(track_refs=False)
    for name in ("track_refs", "dumps", "anything"):
        with pytest.raises(AttributeError):
            setattr(serializer, name, 1)
        with pytest.raises(AttributeError):
            delattr(serializer, name)
    assert dataclasses.replace(serializer, max_depth=5) == fastser.Serializer(track_refs=False, max_depth=5)


OPTIONS = {"track_refs": False, "max_depth": 7, "fallback": None, "safe": True, "allow": [Foreign]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled(protocol):
    serializer = fastser.Serializer(**OPTIONS)
    again = pickle.loads(pickle.dumps(serializer, protocol))
    assert type(again) is fastser.Serializer
    assert again == serializer
    assert hash(again) == hash(serializer)
    assert again.allow == (Foreign,)
    assert again.dumps(1) == serializer.dumps(1)
    with pytest.raises(fastser.DepthError):
        again.dumps([[[[[[[[1]]]]]]]])


def test_copies_and_subclasses():
    class Mine(fastser.Serializer):
        pass

    for make in (copy.copy, copy.deepcopy):
        again = make(Mine(max_depth=7))
        assert type(again) is Mine
        assert again.max_depth == 7
        assert again.loads(again.dumps([1])) == [1]


def test_it_goes_through_itself():
    serializer = fastser.Serializer(max_depth=7)
    assert serializer.loads(serializer.dumps(serializer)) == serializer


def test_equal_options_are_equal_serializers():
    assert fastser.Serializer() == fastser.Serializer()
    assert fastser.Serializer() != fastser.Serializer(track_refs=False)
    assert len({fastser.Serializer(), fastser.Serializer(), fastser.Serializer(max_depth=3)}) == 2
