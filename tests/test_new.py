"""A class whose ``__new__`` takes other arguments than its reducer gives: dumps refuses what loads could not make."""

import pickle
import re

import pytest
from same import same

import fastser

pytestmark = pytest.mark.core

SIGNATURES = [
    "cls", "cls, a", "cls, a, b", "cls, a=1", "cls, a, b=2", "cls, a, b=2, c=3", "cls, *rest", "cls, a, *rest", "cls, **named",
    "cls, *, k=1", "cls, *, k", "cls, a, *, k=1", "cls, a, *, k=1, m", "cls, a=0, *rest, k=1, **named", "cls, /, a", "*all",
]  # fmt: skip


def class_of(signature: str) -> type:
    scope = {"__name__": __name__}
    exec(f"class Made:\n def __new__({signature}): return object.__new__({'all[0]' if signature == '*all' else 'cls'})", scope)
    return scope["Made"]


@pytest.mark.parametrize("given", [None, (), (1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_refused_where_pickle_could_not_load(signature, given, monkeypatch):
    cls = class_of(signature)
    monkeypatch.setitem(globals(), "Made", cls)
    if given is not None:
        cls.__getnewargs__ = lambda self: given
    value = [object.__new__(cls) for _ in range(3)]
    frame = pickle.dumps(value)
    try:
        pickle.loads(frame)
    except TypeError:
        words = f"makes objects by a __new__ that takes other arguments than {len(given or ())}"
        for refused in (value, value[0]):
            with pytest.raises(fastser.EncodeError, match=re.escape(words)):
                fastser.dumps(refused)
    else:
        same(fastser.loads(fastser.dumps(value)), value)
        same(fastser.loads(fastser.dumps(value[0])), value[0])
