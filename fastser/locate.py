"""Find where in an object a part of it lies, once packing that part has failed.

The packer keeps no path while it works. When it fails it knows the object it failed on, and this search finds that again, in
the order in which the packer walks. No recursion, and cycles end: the objects that get here are the ones that went wrong.
"""

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastser.errors import type_name

_KEY_LIMIT = 40

# A part, what words its place, and with what.
Part = tuple[Any, Callable[[Any], str], Any]


def locate(root: object, target: object) -> str | None:
    """Return the path of the first place where `target` itself lies in `root`.

    Parameters
    ----------
    root, target : object
        Compared by identity.

    Returns
    -------
    str or None
        Such as ``$.jobs[3].callback``, where ``$`` is the root. None if `target` is in no container that is packed natively.

    Examples
    --------
    >>> from fastser.locate import locate
    >>> job = object()
    >>> locate({"jobs": [1, 2, {"call back": job}]}, job)
    "$.jobs[2]['call back']"
    """
    if root is target:
        return "$"
    walk = _walk_of(root)
    if walk is None:
        return None
    seen = {id(root)}
    walks, segments = [walk], ["$"]
    while walks:
        for part, make_segment, argument in walks[-1]:
            if part is target:
                segments.append(make_segment(argument))
                return "".join(segments)
            if id(part) not in seen and (walk := _walk_of(part)) is not None:
                seen.add(id(part))
                walks.append(walk)
                segments.append(make_segment(argument))
                break
        else:
            walks.pop()
            segments.pop()
    return None


def find_cycle(root: object) -> str | None:
    """Return the path of the first container within `root` that contains itself, or None.

    Packing a tree meets an object again below itself or beside itself without knowing which; this walk, depth first,
    tells cycles from what is merely shared.

    Examples
    --------
    >>> from fastser.locate import find_cycle
    >>> shared = []
    >>> find_cycle([shared, [shared]]) is None
    True
    >>> shared.append([shared])
    >>> find_cycle([shared, [shared]])
    '$[0]'
    """
    walk = _walk_of(root)
    if walk is None:
        return None
    walks, containers, segments = [walk], [root], ["$"]
    on_path, seen = {id(root)}, {id(root)}
    while walks:
        for part, make_segment, argument in walks[-1]:
            if id(part) in on_path:
                depth = next(i for i, container in enumerate(containers) if container is part)
                return "".join(segments[: depth + 1])
            if id(part) not in seen and (walk := _walk_of(part)) is not None:
                seen.add(id(part))
                on_path.add(id(part))
                walks.append(walk)
                containers.append(part)
                segments.append(make_segment(argument))
                break
        else:
            walks.pop()
            segments.pop()
            on_path.discard(id(containers.pop()))
    return None


def _walk_of(obj: Any) -> Iterator[Part] | None:
    """The parts of `obj` in order, or None if the packer does not look into it."""
    walk = _WALKS.get(type(obj))
    return None if walk is None else walk(obj)


def _items(sequence: Any) -> Iterator[Part]:
    return ((item, _index, i) for i, item in enumerate(sequence))


def _pairs(mapping: Any) -> Iterator[Part]:
    for key, value in list(mapping.items()):
        yield key, _key_itself, key
        yield value, _value_of, key


def _members(members: Any) -> Iterator[Part]:
    return ((member, _member, member) for member in list(members))


def _elements(array: Any) -> Iterator[Part]:
    if array.dtype == object:
        return ((item, _index, i[0] if array.ndim == 1 else i) for i, item in np.ndenumerate(array))
    return ((value, _attribute, f"dtype.{name}") for name, value in _attributes(array.dtype, "na_object"))


def _bounds(bounds: Any) -> Iterator[Part]:
    return ((value, _attribute, name) for name, value in _attributes(bounds, "start", "stop", "step"))


def _zone(time: Any) -> Iterator[Part]:
    return ((value, _attribute, name) for name, value in _attributes(time, "tzinfo"))


def _fixed_zone(zone: Any) -> Iterator[Part]:
    return ((value, _attribute, name) for name, value in zip(("offset", "name"), zone.__getinitargs__()))


def _attributes(obj: Any, *names: str) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(obj, name)) for name in names if hasattr(obj, name))


_WALKS: dict[type, Callable[[Any], Iterator[Part]]] = {
    list: _items,
    tuple: _items,
    dict: _pairs,
    set: _members,
    frozenset: _members,
    slice: _bounds,
    np.ndarray: _elements,
    datetime.datetime: _zone,
    datetime.time: _zone,
    datetime.timezone: _fixed_zone,
}


def _index(i: Any) -> str:
    return f"[{', '.join(map(str, i))}]" if type(i) is tuple and i else f"[{i}]"


def _attribute(name: Any) -> str:
    return f".{name}"


def _value_of(key: Any) -> str:
    if type(key) is str and key.isidentifier() and len(key) <= _KEY_LIMIT:
        return f".{key}"
    return f"[{_short_repr(key)}]"


def _key_itself(key: Any) -> str:
    return f".key({type_name(key)})"


def _member(member: Any) -> str:
    return f"{{{type_name(member)}}}"


def _short_repr(key: Any) -> str:
    try:
        text = repr(key[: _KEY_LIMIT + 1] if type(key) in (str, bytes) else key)
    except Exception:
        text = f"<{type_name(key)}>"
    return text if len(text) <= _KEY_LIMIT else text[: _KEY_LIMIT - 1] + "…"
