"""Digests of definitions: of functions, of classes, and of what else a statement makes one of."""

import collections
import dataclasses
import enum
import functools
import hashlib
import operator
import re
import sys
import types
import typing
import weakref
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from fastser._core.classes.plans import version_of
from fastser.fallback import MAIN, names_in, reference, resolve, text_of
from fastser.hooks import found_in

_SIZE = 16
_ITEMS_LIMIT = 10_000  # of collections, in one digest
_PLAIN = frozenset([type(None), type(...), bool, int, float, complex, str, bytes, range])
_COLLECTIONS = frozenset([tuple, list, frozenset, set, dict])
_NOTHING = object()
_BY_NAME = (types.ModuleType, types.BuiltinFunctionType)
# What holds functions: by its attributes.
_WRAPPERS: dict[type, tuple[str, ...]] = {
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    functools.partialmethod: ("func", "args", "keywords"),
    functools.singledispatchmethod: ("func",),
    type(functools.lru_cache(print)): ("__wrapped__",),
    types.MethodType: ("__func__", "__self__"),
}
_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType, types.MethodDescriptorType)
_FIELD = type(vars(collections.namedtuple("_FIELD", "field"))["field"])  # of a named tuple
_SENTINELS = tuple(type(getattr(dataclasses, name)) for name in ("MISSING", "_HAS_DEFAULT_FACTORY"))
# What the interpreter and decorators add to a class, and what changes as it is used.
_ADDED = frozenset(
    ["__weakref__", "__dict__", "__module__", "__qualname__", "__firstlineno__", "__static_attributes__", "__annotations_cache__", "__slotnames__"]
    + ["__annotate__", "__abstractmethods__", "_abc_impl", "__dataclass_fields__", "__dataclass_params__"]
)
# Of code: neither where it was compiled, nor where its lines are.
_OF_CODE = ["co_name", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_code", "co_names", "co_varnames"]
_OF_CODE += ["co_freevars", "co_cellvars", *(["co_exceptiontable"] if hasattr(types.CodeType, "co_exceptiontable") else [])]


def narrow(obj: Any) -> bytes:
    """The digest of a statement: its code, its plain values, and the names of what else it has.

    That of a class is kept until the class changes.

    Examples
    --------
    >>> from fastser.digests import narrow
    >>> namespace = {}
    >>> exec("def f(): return 1\\ng = f\\ndef f(): return 1", namespace)
    >>> narrow(namespace["f"]) == narrow(namespace["g"])
    True
    """
    if not isinstance(obj, type):
        return _narrow_of_function(obj) if type(obj) is types.FunctionType else _Digest(obj, wide=False).hash.digest()
    version = version_of(obj)
    codes = [*map(_code_of, vars(obj).copy().values())]
    before = _narrow_ones.get(obj)
    if before is None or before[0] is not version or len(before[1]) != len(codes) or not all(map(operator.is_, before[1], codes)):
        before = _narrow_ones[obj] = version, codes, _Digest(obj, wide=False).hash.digest()
    return before[2]


_narrow_ones: MutableMapping[type, tuple[object, list[Any], bytes]] = weakref.WeakKeyDictionary()


def _narrow_of_function(fn: types.FunctionType) -> bytes:
    """Kept as well, where all that it covers can be compared."""
    if fn.__closure__ or fn.__dict__ or fn.__kwdefaults__ or not _PLAIN.issuperset(map(type, fn.__defaults__ or ())):
        return _Digest(fn, wide=False).hash.digest()
    late = getattr(fn, "__annotate__", None)
    parts = fn.__code__, fn.__defaults__, late, dict(fn.__annotations__) if late is None else None
    before = _narrow_functions.get(fn)
    if before is None or not all(map(operator.is_, before[0][:3], parts)) or before[0][3] != parts[3]:
        before = _narrow_functions[fn] = parts, _Digest(fn, wide=False).hash.digest()
    return before[1]


_narrow_functions: MutableMapping[types.FunctionType, tuple[tuple[Any, ...], bytes]] = weakref.WeakKeyDictionary()


def _code_of(attribute: Any) -> Any:
    kind = type(attribute)
    if kind is types.FunctionType:
        return attribute.__code__
    if kind in _WRAPPERS:
        return getattr(getattr(attribute, _WRAPPERS[kind][0]), "__code__", None)
    return None


def of_parts(parts: tuple[Any, ...]) -> bytes:
    """The digest of what is made of these parts, and is neither class nor function."""
    return _Digest(parts, wide=False).hash.digest()


def wide(obj: Any, graph: "Graph | None" = None) -> tuple[bytes, bool]:
    """The digest of a definition and of all that it refers to, and whether that is more than a digest covers.

    Parameters
    ----------
    obj : object
    graph : Graph, optional
        What was met before, in the same message.
    """
    return (graph or Graph()).digest(obj)


def code(obj: Any) -> bytes:
    """The digest of a statement, and of those of the functions and classes that it refers to."""
    return Graph(values=False).digest(obj)[0]


def place(obj: Any) -> tuple[str, str]:
    """The module and the name that an object says it has; empty where it says nothing."""
    module = found_in(getattr(obj, "__module__", None))
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    if type(module) is not str or type(name) is not str:
        return "", ""
    return "__main__" if module in MAIN else module, name


def found(module: str, name: str) -> Any:
    """What a module that is imported holds by a name, or None."""
    if name and "<" not in name and module in sys.modules:
        with suppress(Exception):
            return resolve(module, name)
    return None


class Graph:
    """Definitions, and which of them refer to which: each is looked at once, however many lead to it.

    Parameters
    ----------
    values : bool
        Whether digests cover plain values that functions refer to.
    """

    def __init__(self, values: bool = True) -> None:
        self.values = values
        self.nodes: dict[int, _Node] = {}

    def digest(self, root: Any) -> tuple[bytes, bool]:
        """Of a definition, or of the parts of what is none; and whether it does not cover all."""
        node = self.node(root)
        if node.reached is None:
            self.reach(node)
        depth, digests, is_open = node.reached
        return hashlib.blake2b(node.digests[depth] + digests, digest_size=_SIZE).digest(), is_open

    def reach(self, root: "_Node") -> None:
        """Find all that a definition leads to: so do those of them that lead back to it."""
        nodes = [root]
        leads: dict[int, list[_Node]] = {id(root): []}
        for node in nodes:  # which grows
            for other in self.referred(node):
                if id(other) not in leads:
                    leads[id(other)] = []
                    nodes.append(other)
                leads[id(other)].append(node)
        # Which definitions are equal is told by what they say, by what those say that they refer to, and so on. Where that tells no
        # more apart, what each refers to is known.
        depth, before, distinct = 0, 0, len({node.digests[0] for node in nodes})
        while before < distinct:
            depth, before, distinct = depth + 1, distinct, len({self.deeper(node, depth + 1) for node in nodes})
        digests = b"".join(sorted(node.digests[depth] for node in nodes))
        root.reached = depth, digests, any(node.is_open for node in nodes)
        back = [root]
        for node in back:
            for other in leads[id(node)]:
                if other.reached is not root.reached:
                    other.reached = root.reached
                    back.append(other)

    def node(self, obj: Any) -> "_Node":
        node = self.nodes.get(id(obj))
        if node is None:
            node = self.nodes[id(obj)] = _Node(obj, self.values)
        return node

    def referred(self, node: "_Node") -> list["_Node"]:
        if node.referred is None:
            node.referred = [*map(self.node, node.references)]
        return node.referred

    def deeper(self, node: "_Node", depth: int) -> bytes:
        """The digest of a definition and of all that are up to so many references away."""
        if len(node.digests) == depth:
            hashed = hashlib.blake2b(node.digests[0], digest_size=_SIZE)
            for other in self.referred(node):
                hashed.update(other.digests[depth - 1])
            node.digests.append(hashed.digest())
        return node.digests[depth]


class _Node:
    """One definition."""

    def __init__(self, obj: Any, values: bool) -> None:
        digest = _Digest(obj, wide=True, values=values)
        self.obj = obj  # alive, lest another object takes the address
        self.digests = [digest.hash.digest()]
        self.references, self.is_open = digest.references, digest.is_open
        self.referred: list[_Node] | None = None
        self.reached: Any = None  # of all that it leads to: how deep digests tell them apart, these digests, and whether one is open


class _Digest:
    def __init__(self, root: Any, wide: bool, values: bool = True) -> None:
        self.hash = hashlib.blake2b(digest_size=_SIZE)
        self.wide, self.values = wide, values
        self.prefix = f"{getattr(root, '__qualname__', '')}."
        self.seen: dict[int, tuple[int, Any]] = {}  # alive, lest another object takes the address
        self.is_open = False
        self.references: list[Any] = []  # wide: definitions
        self.items = 0
        if isinstance(root, type):
            self.class_statement(root)
        elif type(root) is types.FunctionType:
            self.function_statement(root)
        else:
            for part in root:
                if type(part) is dict:
                    self.mapping(part)
                else:
                    self.value("__main__" if type(part) is str and part in MAIN else part)

    def words(self, *words: str | bytes) -> None:
        for word in words:
            text = word.encode("utf-8", "surrogatepass") if isinstance(word, str) else word
            self.hash.update(b"%d:" % len(text))
            self.hash.update(text)

    def is_met(self, obj: Any) -> bool:
        """Whether it was met before; then only where."""
        before = self.seen.get(id(obj))
        if before is not None:
            self.words("again", str(before[0]))
            return True
        self.seen[id(obj)] = len(self.seen), obj
        return False

    def leave_out(self, obj: Any) -> None:
        """Only what it is: it may hold anything, and change."""
        self.is_open = True
        self.words("a", *place(type(obj)))

    # Values.

    def value(self, obj: Any) -> None:
        cls = type(obj)
        if cls in _PLAIN:
            self.words(cls.__name__, obj if cls is str or cls is bytes else text_of(obj))
        elif cls in _COLLECTIONS:
            self.collection(obj, cls)
        elif issubclass(cls, (type, types.FunctionType)):  # before Python 3.11 `list[int]` is an instance of type
            self.definition(obj)
        elif cls is types.CodeType:
            self.words("code", _code_digest(obj))
        elif cls in _WRAPPERS:
            self.words(cls.__name__)
            for name in _WRAPPERS[cls]:
                self.value(getattr(obj, name, None))
        elif isinstance(obj, _DESCRIPTORS):
            self.words(cls.__name__, obj.__name__)
        elif cls is _FIELD:
            self.value(obj.__reduce__()[1])
        elif isinstance(obj, enum.Enum):
            self.words("member", obj.name)
            self.definition(cls)
        elif isinstance(obj, _BY_NAME):
            self.words("name", str(getattr(obj, "__module__", "")), getattr(obj, "__qualname__", obj.__name__))
        elif cls.__module__ in ("typing", "types", "typing_extensions") or cls in _SENTINELS:
            self.type_expression(obj)
        else:
            self.leave_out(obj)

    def type_expression(self, obj: Any) -> None:
        text = _without_addresses(obj)
        parts = getattr(obj, "__args__", ())
        if "Annotated[" not in text or type(parts) is not tuple or not parts:
            return self.words("type", text)
        # In its text is that of whatever it holds, sets in the order that they have in this process.
        self.words("parts of", _without_addresses(typing.get_origin(obj)))
        for part in (*parts, *getattr(obj, "__metadata__", ())):
            if type(part) in _COLLECTIONS or issubclass(type(part), (type, types.FunctionType)):
                self.value(part)
            else:
                self.type_expression(part)
        return None

    def collection(self, obj: Any, cls: type) -> None:
        self.items += len(obj)
        if self.items > _ITEMS_LIMIT or not (self.wide or cls is tuple or cls is frozenset):
            self.leave_out(obj)
        elif not self.is_met(obj):
            self.words(cls.__name__, str(len(obj)))
            if cls is dict:
                for key, value in obj.items():
                    self.value(key)
                    self.value(value)
            else:
                for item in sorted(obj, key=_order) if cls is set or cls is frozenset else obj:
                    self.value(item)

    def definition(self, obj: Any) -> None:
        """A function or class that is referred to."""
        with suppress(Exception):
            names = reference(obj, "cloudpickle")
            if names is not None:
                return self.words("name", *names)
        module, name = place(obj)
        if self.wide:
            self.references.append(obj)
            return self.words("definition", module, name)
        if self.is_met(obj):
            return None
        if not name.startswith(self.prefix) and found(module, name) is obj:
            return self.words("name", module, name)  # its definition is another
        return self.class_statement(obj) if isinstance(obj, type) else self.function_statement(obj)

    # Statements.

    def function_statement(self, fn: types.FunctionType) -> None:
        self.is_met(fn)
        self.words("def", fn.__qualname__, _code_digest(fn.__code__))
        self.value(fn.__defaults__)
        self.mapping(fn.__kwdefaults__ or {})
        self.mapping(fn.__dict__)
        self.annotations(fn, getattr(fn, "__annotate__", None))
        for variable, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
            self.words(variable)
            if variable != "__classdict__":
                try:
                    self.value(cell.cell_contents)
                except ValueError:
                    self.words("nothing")
        if self.wide:
            for name in names_in(fn.__code__):
                value = fn.__globals__.get(name, _NOTHING)
                if value is not _NOTHING and (self.values or isinstance(value, (type, types.FunctionType))):
                    self.words(name)
                    self.value(value)

    def class_statement(self, cls: type) -> None:
        self.is_met(cls)
        self.words("class", cls.__qualname__)
        for base in (type(cls), *cls.__bases__):
            if self.wide:
                self.definition(base)
            else:
                self.words(*place(base))
        attributes = {name: value for name, value in vars(cls).copy().items() if name not in _ADDED}
        if isinstance(cls, enum.EnumMeta):
            members: Mapping[str, Any] = cls.__members__
            self.mapping({name: member._value_ for name, member in members.items()})
            attributes = {name: value for name, value in attributes.items() if name not in members and not _is_of_enum(name)}
        doc = attributes.get("__doc__")
        if "__dataclass_fields__" in vars(cls) and (type(doc) is not str or doc.startswith(f"{cls.__name__}(")):
            # The signature, with addresses of what has no other text; from Python 3.15 on it is there once somebody asks for it.
            attributes.pop("__doc__", None)
        self.annotations(cls, attributes.pop("__annotate_func__", None), attributes.pop("__annotations__", None))
        self.mapping(dict(sorted(attributes.items())))
        for name, field in getattr(cls, "__dataclass_fields__", {}).items():
            if getattr(field, "metadata", None):  # of which no code of the class tells
                self.words("metadata", name)
                self.mapping(field.metadata)

    def annotations(self, obj: Any, annotate: Any, evaluated: dict[str, Any] | None = None) -> None:
        if type(annotate) is types.FunctionType:
            self.words("late", _code_digest(annotate.__code__))
        elif type(obj) is types.FunctionType:
            self.mapping(obj.__annotations__)
        elif evaluated:  # to ask a class for them may give it an empty dict
            self.mapping(evaluated)

    def mapping(self, mapping: Mapping[Any, Any]) -> None:
        self.words(str(len(mapping)))
        for name, value in mapping.items():
            self.words(str(name))
            self.value(value)


def _is_of_enum(name: str) -> bool:
    return name.startswith("_") and name.endswith("_") and not name.startswith("__")


def _order(item: Any) -> tuple[str, ...]:
    """Where an item of a set belongs. What is left out of the digest is told by its class alone."""
    cls = type(item)
    if cls is tuple or cls is frozenset:
        orders = [*map(_order, item)]
        return cls.__name__, str(orders if cls is tuple else sorted(orders))
    named = isinstance(item, (type, types.FunctionType, enum.Enum))
    return cls.__qualname__, text_of(item) if cls in _PLAIN else ".".join(place(item)) + str(getattr(item, "name", "")) if named else ""


def _without_addresses(obj: Any) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+|\b__mp_(?=main__\.)", lambda found: "__" if found[0] == "__mp_" else "", repr(obj))


def _code_digest(code: types.CodeType) -> bytes:
    digest = _code_digests.get(code)
    if digest is None:
        hashed = hashlib.blake2b(digest_size=_SIZE)
        parts = [*(getattr(code, name) for name in _OF_CODE), *code.co_consts]
        if code.co_name == "__hash__" and code.co_filename.startswith("<attrs generated"):
            parts = [code.co_names]  # the hash of its name in this process is among the constants
        for part in parts:
            word = _constant(part)
            hashed.update(b"%d:%s" % (len(word), word))
        digest = _code_digests[code] = hashed.digest()
    return digest


_code_digests: MutableMapping[types.CodeType, bytes] = weakref.WeakKeyDictionary()


def _constant(part: Any) -> bytes:
    if type(part) is types.CodeType:
        return _code_digest(part)
    if type(part) is bytes:
        return b"b" + part
    if type(part) is tuple or type(part) is frozenset:
        words = [*map(_constant, part)]
        return type(part).__name__.encode() + b"".join(b"%d:%s" % (len(word), word) for word in (words if type(part) is tuple else sorted(words)))
    return f"{type(part).__name__} {text_of(part)}".encode("utf-8", "surrogatepass")
