"""The parts of an object, and the paths that lead to them.

The packer keeps no path while it works. When it fails it knows the object it failed on, and `locate` finds that again, in
the order in which the packer walks; what reducers and hooks returned to the packer is looked through, and none is asked again.
What is plain is passed over in the core. No recursion, cycles end, and what raises has no parts: the objects that get here are
the ones that went wrong.
"""

import datetime
import functools
import pickle
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from fastser import fallback
from fastser._core.search.plain import Answers, Plain
from fastser.errors import type_name
from fastser.hooks import MAPPINGS, NATIVE, PROCESS, Hooks

_KEY_LIMIT = 40
# Of reducers and hooks, which can go on making objects without end: within each other, and in one search.
_MADE_LIMIT = 2_000
_CALLS_LIMIT = 200_000

# A part, what words its place, and with what.
Word = Callable[[Any], str]
Part = tuple[Any, Word, Any]
Ask = Callable[[Any, Any], Any]


def locate(root: object, target: object, hooks: Hooks = PROCESS, answers: Answers | None = None) -> str | None:
    """Return the path of the first place where `target` itself lies in `root`.

    Parameters
    ----------
    root, target : object
        Compared by identity.
    hooks : Hooks
        Those in force.
    answers : Answers, optional
        What reducers and hooks returned to the packer: then none is asked, and what they made is found again.

    Returns
    -------
    str or None
        Such as ``$.jobs[3].callback``, where ``$`` is the root. What reducers and hooks make anew each time is not found
        again: then it is the path of the innermost object that makes one of its type, or else of the first one that computes what
        it is packed as. None if there is no such object.

    Examples
    --------
    >>> from fastser.locate import locate
    >>> job = object()
    >>> locate({"jobs": [1, 2, {"call back": job}]}, job)
    "$.jobs[2]['call back']"
    """
    if root is target:
        return "$"
    plain = _plain(target, False, answers)
    parts = Parts(hooks, into_definitions=True, ask=None if answers is None else answers.ask, plain=plain)
    plain.begin(root)
    makers = [0] if parts.made(root) else []  # which containers of the line make their parts anew
    plain.want(bool(makers))
    line = _Line(root, parts.of(root))
    calls = 0
    nearest = None
    computed = "$" if parts.computed(root) else None
    while line.walks:
        for part, word, argument in line.walks[-1]:
            if part is target:
                return line.path() + word(argument)
            if makers and nearest is None and type(part) is type(target):
                nearest = line.path(makers[-1])
                plain.is_near()
            if computed is None and parts.computed(part):
                computed = line.path() + word(argument)
            if plain.is_met(part):
                continue
            if (walk := parts.of(part)) is None:
                plain.end(part, done=True)
                continue
            plain.begin(part)
            if parts.made(part):
                if len(makers) > _MADE_LIMIT:
                    continue
                calls += len(makers) > 0
                if calls > _CALLS_LIMIT:
                    return nearest or computed
                makers.append(len(line.walks))
                plain.want(nearest is None)
            line.push(part, walk, word, argument)
            break
        else:
            line.pop()
            if makers and makers[-1] == len(line.walks):
                makers.pop()
                plain.want(bool(makers) and nearest is None)
    return nearest or computed


def find_cycle(root: object, hooks: Hooks = PROCESS) -> str | None:
    """Return the path of the first container that contains itself with no instance on the way from `root`, or None.

    Packing a tree meets an object again below itself or beside itself without knowing which; this walk tells cycles from
    what is merely shared. Cycles on whose way there is an instance are those of `cyclic_instances`.

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
    return cycles(root, hooks)[1]


def cyclic_instances(root: object, hooks: Hooks = PROCESS) -> list[object]:
    """Return the instances in which a tree has to keep identity: each is the outermost on the way from `root` to a cycle.

    Where it is kept in these, `root` contains itself nowhere, or where `find_cycle` says.

    Examples
    --------
    >>> from fastser.locate import cyclic_instances
    >>> class Node: ...
    >>> parent, child = Node(), Node()
    >>> parent.child, child.parent = child, parent
    >>> cyclic_instances([1, parent, child]) == [parent]
    True
    """
    return cycles(root, hooks)[0]


def cycles(root: object, hooks: Hooks, ask: Ask | None = None) -> tuple[list[object], str | None]:
    """What `cyclic_instances` and `find_cycle` return; a path ends the search. `ask`: as `Parts` takes it."""
    plain = _plain(None, True)  # what is begun is on the line
    parts = Parts(hooks, ask=ask, plain=plain)
    whole: dict[int, object] = {}  # in which identity is kept
    plain.begin(root)
    line = _Line(root, parts.of(root))
    made = int(parts.made(root))  # how many on the line are made by reducers and hooks
    calls = 0
    while line.walks:
        for part, word, argument in line.walks[-1]:
            if plain.is_begun(part):
                depth = line.outermost(lambda container: not parts.native(container) and parts.plan(type(container)).kind != "HOOK")
                if depth is None:
                    return list(whole.values()), line.path(line.outermost(lambda container: container is part))  # noqa: B023 - called at once
                # What lies below may be met again on another way: it is not done.
                whole[id(line.containers[depth])] = line.containers[depth]
                while len(line.walks) > depth:
                    container = line.pop()
                    plain.end(container, done=False)
                    made -= parts.made(container)
                break
            if not plain.is_met(part) and id(part) not in whole and (walk := parts.of(part)) is not None:
                if parts.made(part):
                    calls += made > 0
                    if made > _MADE_LIMIT or calls > _CALLS_LIMIT:
                        continue
                    made += 1
                plain.begin(part)
                line.push(part, walk, word, argument)
                break
        else:
            container = line.pop()
            plain.end(container, done=True)
            made -= parts.made(container)
    return list(whole.values()), None


def _plain(target: object, cyclic: bool, answers: Answers | None = None) -> Plain:
    plain = Plain(_LEAVES, _WORDS, target, cyclic, answers)
    for cls, names in _ATTRIBUTES.items():
        plain.learn(cls, tuple(getattr(cls, name) for name in names), False, False)
    return plain


class _Line:
    """The containers from the root to where a walk is, depth first: how their walks go on, and what words their places."""

    def __init__(self, root: object, walk: Iterator[Part] | None) -> None:
        self.containers = [root]
        self.walks = [walk or iter(())]
        self.places: list[tuple[Word, Any]] = [(root_word, None)]

    def push(self, container: object, walk: Iterator[Part], word: Word, argument: Any) -> None:
        self.containers.append(container)
        self.walks.append(walk)
        self.places.append((word, argument))

    def pop(self) -> object:
        self.walks.pop()
        self.places.pop()
        return self.containers.pop()

    def outermost(self, fits: Callable[[object], bool]) -> int | None:
        return next((depth for depth, container in enumerate(self.containers) if fits(container)), None)

    def path(self, depth: int | None = None) -> str:
        """Of the container at a depth, or of the innermost."""
        places = self.places if depth is None else self.places[: depth + 1]
        return "".join(word(argument) for word, argument in places)


# --- parts -------------------------------------------------------------------------------------------------------------


class Parts:
    """What the packer looks into; each class is asked for its plan once.

    Parameters
    ----------
    hooks : Hooks
        Those in force.
    into_definitions : bool
        Whether functions, classes and modules that go by value have parts.
    ask : callable, optional
        ``ask(obj, hook)`` is what the hook of an object makes of it, or its reducer, for None.
    plain : Plain, optional
        What the parts of native containers are without what it passes over.
    """

    def __init__(
        self, hooks: Hooks = PROCESS, into_definitions: bool = False, ask: Ask | None = None, plain: Plain | None = None
    ) -> None:
        self._hooks = hooks
        self._into_definitions = into_definitions
        self._ask = ask or _ask
        self._plain = plain
        self._plans: dict[int, tuple[type, fallback.Plan]] = {}

    def native(self, obj: object) -> bool:
        return id(type(obj)) in NATIVES

    def plan(self, cls: type) -> fallback.Plan:
        """The plan of a class that is not native; REDUCE where asking it raises."""
        known = self._plans.get(id(cls))
        if known is not None:
            return known[1]
        try:
            plan = fallback.plan(cls, self._hooks)
        except Exception as error:
            plan = fallback.Plan("REDUCE", f"its class cannot be asked: {type(error).__name__}")
        self._plans[id(cls)] = cls, plan
        return plan

    def made(self, obj: object) -> bool:
        """Whether the parts of an object are made by its users' code, anew each time."""
        return not self.native(obj) and self.plan(type(obj)).kind in ("REDUCE", "HOOK")

    def computed(self, obj: object) -> bool:
        """Whether an object is packed as what it computes: only packing asks for that."""
        return not self.native(obj) and (hook := self.plan(type(obj)).hook) is not None and hook.computes

    def of(self, obj: Any) -> Iterator[Part] | None:
        """The parts of an object in order, or None where the packer does not look into it."""
        if self._plain is not None and id(type(obj)) in _CONTAINERS:
            return self._plain.rest(obj)
        if type(obj) is np.ndarray:
            return self._elements(obj)
        walk = _WALKS.get(id(type(obj)))
        if walk is not None:
            return walk(obj)
        if self.native(obj):
            return None
        return self.by_plan(obj, self.plan(type(obj)))

    def by_plan(self, obj: Any, plan: fallback.Plan) -> Iterator[Part] | None:
        """The parts of an object that is not native, by this plan."""
        if plan.kind == "FIELDS":
            return _guarded(self._fields(obj, plan))
        if plan.kind == "ROWS":
            return _guarded(self._row(obj, plan))
        if plan.kind == "ARRAY":
            return _guarded(self._array(obj))
        if plan.hook is not None:
            return None if plan.hook.computes else _guarded(self._hooked(obj, plan))
        if plan.kind == "REDUCE":
            return _guarded(self._reduced(obj))
        return _guarded(_definition(obj)) if self._into_definitions else None

    def _fields(self, obj: Any, plan: fallback.Plan) -> Iterator[Part]:
        yield type(obj), maker, "class"
        if self._plain is not None and plan is self.plan(type(obj)):  # and no hook's to decide
            self._plain.learn(type(obj), tuple(slot for _, slot in plan.slots), plan.has_dict, False)
        if plan.has_dict:
            for name, value in list(dict.items(object.__getattribute__(obj, "__dict__"))):
                yield value, value_of, name
        for name, slot in plan.slots:
            try:
                value = slot.__get__(obj)
            except AttributeError:
                continue
            yield value, attribute, name

    def _row(self, obj: Any, plan: fallback.Plan) -> Iterator[Part]:
        yield type(obj), maker, "class"
        if self._plain is not None and plan is self.plan(type(obj)):
            self._plain.learn(type(obj), (), False, True)
        for name, item in zip(type(obj)._fields, tuple.__iter__(obj)):
            yield item, attribute, name

    def _array(self, obj: Any) -> Iterator[Part]:
        yield type(obj), maker, "class"
        yield from self._elements(np.ndarray.view(obj, np.ndarray)) or ()

    def _elements(self, array: Any) -> Iterator[Part] | None:
        if self._plain is None or array.dtype != object:
            return _elements(array)
        rest = self._plain.rest(array.ravel().tolist())
        if rest is None or array.ndim == 1:
            return rest
        return ((part, word, tuple(map(int, np.unravel_index(i, array.shape)))) for part, word, i in rest)

    def _hooked(self, obj: Any, plan: fallback.Plan) -> Iterator[Part]:
        assert plan.hook is not None
        payload = self._ask(obj, plan.hook)
        if self._plain is not None:
            self._plain.learn_answered(type(obj))
        if payload is not NotImplemented:
            yield payload, attribute, "hook"
        else:
            yield from self.by_plan(obj, fallback.declined(plan, type(obj))) or ()

    def _reduced(self, obj: Any) -> Iterator[Part]:
        if (walk := _WRAPPERS.get(type(obj))) is not None:
            yield from walk(obj)
            return
        if self._plain is not None:
            self._plain.learn_answered(type(obj))
        reduced = self._ask(obj, None)
        if not isinstance(reduced, str):
            yield from reduced_parts(reduced)


def _ask(obj: Any, hook: Any) -> Any:
    return fallback.reduce(obj) if hook is None else hook.encode(obj)


def _guarded(walk: Iterator[Part]) -> Iterator[Part]:
    """What raises, ends."""
    try:
        yield from walk
    except Exception:
        return


def reduced_parts(reduced: fallback.Reduced) -> Iterator[Part]:
    yield reduced.call, maker, "class" if reduced.parts & fallback.NEW else "callable"
    for i, argument in enumerate(reduced.arguments):
        yield argument, _argument, i
    for i, item in enumerate(reduced.items):
        yield item, index, i
    for key, value in zip(reduced.keys, reduced.values):
        yield key, key_itself, key
        yield value, value_of, key
    if reduced.parts & fallback.STATE:
        yield reduced.state, nothing if type(reduced.state) is dict else attribute, "state"
    if reduced.parts & fallback.SETTER:
        yield reduced.setter, attribute, "state_setter"


def _definition(obj: Any) -> Iterator[Part]:
    """What a function, a class or a module that goes by value holds."""
    if fallback.reference(obj, "cloudpickle") is not None:
        return
    if type(obj) is types.FunctionType:
        names = dict.fromkeys(fallback.names_in(obj.__code__))
        yield from ((obj.__globals__[name], _global, name) for name in names if name in obj.__globals__)
        for i, cell in enumerate(obj.__closure__ or ()):
            with suppress(ValueError):  # it is empty
                yield cell.cell_contents, attribute, f"__closure__[{i}].cell_contents"
        for name, value in (("__defaults__", obj.__defaults__), ("__kwdefaults__", obj.__kwdefaults__)):
            yield value, attribute, name
    elif isinstance(obj, type):
        yield type(obj), attribute, "__class__"
        yield from ((base, attribute, f"__bases__[{i}]") for i, base in enumerate(obj.__bases__))
    yield from ((value, value_of, name) for name, value in list(vars(obj).items()) if name not in ("__dict__", "__weakref__"))


def _attributes_of(*names: str) -> Callable[[Any], Iterator[Part]]:
    return lambda obj: ((value, attribute, name) for name, value in _attributes(obj, *names))


# What only cloudpickle takes apart, and holds something.
_WRAPPERS: dict[type, Callable[[Any], Iterator[Part]]] = {
    property: _attributes_of("fget", "fset", "fdel"),
    classmethod: _attributes_of("__func__"),
    staticmethod: _attributes_of("__func__"),
    types.CellType: _attributes_of("cell_contents"),
    types.GetSetDescriptorType: _attributes_of("__objclass__"),
    types.MemberDescriptorType: _attributes_of("__objclass__"),
    type(functools.lru_cache(print)): _attributes_of("__wrapped__"),
    types.MappingProxyType: lambda mapping: pairs(mapping),
}


def _items(sequence: Any) -> Iterator[Part]:
    # As it is now: what its items' reducers and hooks do to it is not met.
    return ((item, index, i) for i, item in enumerate(tuple(sequence)))


def pairs(mapping: Any) -> Iterator[Part]:
    for key, value in list(mapping.items()):
        yield key, key_itself, key
        yield value, value_of, key


def _members(members: Any) -> Iterator[Part]:
    return ((part, member, part) for part in list(members))


def _elements(array: Any) -> Iterator[Part]:
    if array.dtype == object:
        return ((item, index, i[0] if array.ndim == 1 else i) for i, item in np.ndenumerate(array))
    return ((value, attribute, f"dtype.{name}") for name, value in _attributes(array.dtype, "na_object"))


def _bounds(bounds: Any) -> Iterator[Part]:
    return ((value, attribute, name) for name, value in _attributes(bounds, "start", "stop", "step"))


def _zone(time: Any) -> Iterator[Part]:
    return ((value, attribute, name) for name, value in _attributes(time, "tzinfo"))


def _fixed_zone(zone: Any) -> Iterator[Part]:
    return ((value, attribute, name) for name, value in zip(("offset", "name"), zone.__getinitargs__()))


def _attributes(obj: Any, *names: str) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(obj, name)) for name in names if hasattr(obj, name))


# By the addresses of classes: their metaclasses may compare as they like.
_WALKS: dict[int, Callable[[Any], Iterator[Part]]] = {
    id(list): _items,
    id(tuple): _items,
    **{id(mapping): pairs for mapping in MAPPINGS},
    id(set): _members,
    id(frozenset): _members,
    id(slice): _bounds,
    id(np.ndarray): _elements,
    id(datetime.datetime): _zone,
    id(datetime.time): _zone,
    id(datetime.timezone): _fixed_zone,
}

# What these hold besides values.
_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    slice: ("start", "stop", "step"),
    datetime.datetime: ("tzinfo",),
    datetime.time: ("tzinfo",),
}

# What no plan is asked for: it has the parts that _WALKS tells, or none.
NATIVES = frozenset(map(id, NATIVE | {pickle.PickleBuffer}))


# --- words -------------------------------------------------------------------------------------------------------------


def root_word(_: Any) -> str:
    return "$"


def nothing(_: Any) -> str:
    """No step of its own: the parts of this part are worded as parts of what holds it."""
    return ""


def index(i: Any) -> str:
    return f"[{', '.join(map(str, i))}]" if type(i) is tuple and i else f"[{i}]"


def attribute(name: Any) -> str:
    return f".{name}"


def _global(name: Any) -> str:
    return f".__globals__[{name!r}]"


def maker(role: Any) -> str:
    """What an object is made by: its class, or what its reducer says to call."""
    return f".{role}"


def _argument(i: Any) -> str:
    return f".args[{i}]"


def value_of(key: Any) -> str:
    if type(key) is str and key.isidentifier() and len(key) <= _KEY_LIMIT:
        return f".{key}"
    return f"[{_short_repr(key)}]"


def key_itself(key: Any) -> str:
    return f".key({type_name(key)})"


def member(member: Any) -> str:
    return f"{{{type_name(member)}}}"


def _short_repr(key: Any) -> str:
    try:
        text = repr(key[: _KEY_LIMIT + 1] if type(key) in (str, bytes) else key)
    except Exception:
        text = f"<{type_name(key)}>"
    return text if len(text) <= _KEY_LIMIT else text[: _KEY_LIMIT - 1] + "…"


# What plain containers are looked through with; after the words.
_CONTAINERS = frozenset(map(id, (list, tuple, set, frozenset, *MAPPINGS)))
_LEAVES = NATIVES.difference(_WALKS)
_WORDS = (index, member, key_itself, value_of)
