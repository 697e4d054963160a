"""What packing an object does with each part of it: which plan its type takes and why, its bytes, and what would fail.

The tree has a node for alike parts, not for every part: those of one class and one plan that are the same step below alike
wholes, such as the field ``x`` of all points of a list. So it stays as small as the data is regular, and each object is
looked at once. No recursion: the objects that need explaining are those that went wrong.
"""

import datetime
import itertools
import pickle
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from fastser import errors, locate, numpy_classes
from fastser._core.arrow.data import ArrowData
from fastser._core.dumps import pack
from fastser._core.search.alike import PlacesByIndex, Seen, by_class, columns, leaves_by_class, repeated
from fastser._core.values.dtypes import describe
from fastser.fallback import Plan, declined, is_refusal, reduce, reference
from fastser.hooks import MAPPINGS
from fastser.locate import Part, Parts, Word
from fastser.on_demand import Reducers

_LINES_LIMIT = 200
_PATH_WIDTH = 60
_REASON_WIDTH = 100
_LISTED_LIMIT = 20
_STEPS_LIMIT = 64  # keys that have a node of their own
_UNFOLDED_LIMIT = 100_000
_CALLS_LIMIT = 1_000_000  # of reducers and hooks, each as often as it lies within others: they can make objects without end

# The way to a part: that to the whole it is of, and the step from there.
Place = tuple[Any, Word, Any]


class Failure(NamedTuple):
    """A part that cannot be packed, and the error that dumps would raise for it."""

    path: str
    type_name: str
    reason: str


class Explanation:
    """What becomes of alike parts of an object: a node of the tree that `explain` returns. ``str`` gives the tree.

    Attributes
    ----------
    path : str
        Of the first of the parts, such as ``$.jobs[3].name``.
    type_name : str
        Their class.
    plan : str
        "native"; "FIELDS", "ROWS", "HOOK", "REFERENCE", "REDUCE" or "VALUE" as docs/explain.md tells; "REF" for objects
        met before.
    reason : str
        Why it is this plan.
    count : int
        How many parts.
    nbytes : int
        About what they add to a frame, all that is in them included. Of the root, if it can be packed, the size of the frame.
    children : list of Explanation
        The parts of these parts.

    Examples
    --------
    >>> import fastser
    >>> part = fastser.explain({"a": [1, 2, "x"]}).children[0]
    >>> part.path, part.type_name, part.plan, [child.count for child in part.children]
    ('$.a', 'list', 'native', [2, 1])
    """

    def __init__(self, place: Place, type_name: str, plan: str, reason: str) -> None:
        self._place = place
        self._failures: list[Failure] = []
        self.type_name = type_name
        self.plan = plan
        self.reason = reason
        self.count = 0
        self.nbytes = 0
        self.children: list[Explanation] = []

    @property
    def path(self) -> str:
        return _path(self._place)

    @property
    def failures(self) -> list[Failure]:
        """Every part that cannot be packed, here and below: its path, its class, and the error of `dumps`."""
        return [failure for node in self.nodes() for failure in node._failures]

    @property
    def by_value(self) -> "list[Explanation]":
        """The nodes, this one and those below, whose parts go by value, through cloudpickle."""
        return [node for node in self.nodes() if node.plan == "VALUE"]

    def nodes(self) -> "Iterator[Explanation]":
        """This node and all below it, each before its children."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))

    def __repr__(self) -> str:
        return f"<Explanation of {errors.shorten(self.path)}: {self._counted()}, {self.plan}, {self.nbytes:,} bytes>"

    def __str__(self) -> str:
        shown = self._upper()
        rows = [("path", "type", "plan", "bytes", "reason")]
        rows += [node._row() for node in self.nodes() if node in shown]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [
            f"{path:{widths[0]}}  {kind:{widths[1]}}  {plan:{widths[2]}}  {size:>{widths[3]}}  {reason}".rstrip()
            for path, kind, plan, size, reason in rows
        ]
        if hidden := sum(1 for _ in self.nodes()) - len(shown):
            lines.append(f"… and {hidden:,} more")
        if failures := self.failures:
            lines += ["", f"{len(failures):,} of its parts cannot be packed:"]
            lines += [f"- {failure.reason}" for failure in failures[:_LISTED_LIMIT]]
            if len(failures) > _LISTED_LIMIT:
                lines.append(f"… and {len(failures) - _LISTED_LIMIT:,} more")
        return "\n".join(lines)

    def _upper(self) -> "set[Explanation]":
        """As many nodes as are shown, those nearest to the root."""
        level, shown = [self], {self}
        while level:
            level = [child for node in level for child in node.children][: _LINES_LIMIT - len(shown)]
            shown.update(level)
        return shown

    def _counted(self) -> str:
        return self.type_name if self.count == 1 else f"{self.count:,} × {self.type_name}"

    def _row(self) -> tuple[str, str, str, str, str]:
        reason = self.reason
        if failed := len(self._failures):
            reason += "; " * bool(reason) + ("fails" if failed == self.count else f"{failed:,} of {self.count:,} fail")
        return _cut(self.path, _PATH_WIDTH), self._counted(), self.plan, f"{self.nbytes:,}", _cut(reason, _REASON_WIDTH)


def explain(
    obj: object,
    *,
    track_refs: bool = True,
    max_depth: int = 1000,
    fallback: Literal["cloudpickle", "pickle"] | None = "cloudpickle",
) -> Explanation:
    """Tell what packing an object does with each part of it, and everything that would fail.

    Reducers and hooks are called as `dumps` calls them. Whatever they raise is told, not raised.

    Parameters
    ----------
    obj : object
    track_refs, max_depth, fallback
        As for `dumps`.

    Returns
    -------
    Explanation

    Examples
    --------
    >>> import fastser
    >>> explanation = fastser.explain({"jobs": [print, (i for i in "abc")]})
    >>> [(failure.path, failure.type_name) for failure in explanation.failures]
    [('$.jobs[1]', 'generator')]
    """
    pack(None, track_refs=track_refs, max_depth=max_depth, fallback=fallback)  # a wrong option is refused in the words of dumps
    return _Walk(track_refs, max_depth, fallback).explain(obj)


# --- the walk ----------------------------------------------------------------------------------------------------------

# By their addresses: what metaclasses make of comparing classes is not asked.
_SEQUENCES = frozenset(map(id, (list, tuple, set, frozenset)))
_SETS = frozenset(map(id, (set, frozenset)))
_MAPPINGS = frozenset(map(id, MAPPINGS))
_TIMES = frozenset(map(id, (datetime.datetime, datetime.time)))
_NOT_NUMBERED = _TIMES | set(map(id, (slice, range, np.void, np.record)))
_UNITS = frozenset(map(id, (range, bytearray, np.void, np.record, datetime.timezone, ZoneInfo, pickle.PickleBuffer, ArrowData)))
_LEAVES = locate.NATIVES - _SEQUENCES - _NOT_NUMBERED - _UNITS - _MAPPINGS - {id(np.ndarray)}
_ENDLESS = "not looked into: reducers within reducers make too many objects"
_COMPUTED = "not looked into: it is computed when it is packed"
_EMPTY: tuple[()] = ()
_EMPTY_SIZE = pack([]).nbytes


class _Pile:
    """Parts of one class at the same step below alike wholes, still to be looked at."""

    def __init__(self, parent: Explanation | None, cls: type, level: int, made: int, leaf: bool) -> None:
        self.parent = parent
        self.cls = cls
        self.leaf = leaf  # they hold nothing, and are never met again
        self.level = level
        self.made = made  # in how many objects whose parts reducers or hooks make
        self.objects: list[Any] = []
        self.places: list[Place] | PlacesByIndex = []  # of leaves, that of the first


class _Group:
    """Those of a pile that take the same plan."""

    def __init__(self, node: Explanation) -> None:
        self.node = node
        self.objects: list[Any] = []
        self.places: list[Place] | PlacesByIndex = []
        self.walks: Any = []  # of what has parts: a list, or what makes one after the other
        self.measured = True
        self.fields: list[dict[str, Any]] | None = None  # of instances that have no slots
        self.columns: tuple[tuple[str, ...], list[list[Any]]] | None = None  # names and values: of named tuples, and of slots alone


class _Sorter:
    """The parts of the objects of one node, sorted into piles."""

    def __init__(self, node: Explanation, made: int) -> None:
        self.node = node
        self.made = made + (node.plan in ("REDUCE", "HOOK"))
        self.piles: dict[tuple[Any, int, bool], _Pile] = {}
        self.steps: set[Any] = set()  # keys and names that have piles of their own
        self.content: list[Any] = []
        self.names: dict[str, None] = {}
        self.lengths: list[int] = []

    def own(self) -> list[Any]:
        """What stands in a frame for the wholes, the parts left out."""
        lengths = self.lengths if len(set(self.lengths)) > 1 else self.lengths[:1]
        return [*lengths, *self.names, *self.content]

    def add(self, part: Any, word: Word, argument: Any, place: Place, keyed: bool, level: int) -> None:
        """`keyed`: whether each key has a pile of its own, as the names of fields have."""
        cls = id(type(part))
        leaf = _is_leaf(part)
        step: Any = word
        if word is locate.key_itself:
            if leaf and keyed and type(part) is str:
                self.names[part] = None
                return
            if leaf:
                self.content.append(part)
                return
        elif word is not locate.index and word is not locate.member and (word is not locate.value_of or (keyed and type(argument) is str)):
            if argument in self.steps:
                step = argument
            elif len(self.steps) < _STEPS_LIMIT:
                self.steps.add(argument)
                step = argument
        if (pile := self.piles.get((step, cls, leaf))) is None:
            pile = self.piles[step, cls, leaf] = _Pile(self.node, type(part), level, self.made, leaf)
            pile.places.append((place, word, argument))
        elif not leaf:
            pile.places.append((place, word, argument))
        pile.objects.append(part)

    def add_records(self, records: list[Any], places: Sequence[Place], named: bool) -> bool:
        """All mappings of a node, or the fields of all its instances, at once, if they have the same few texts as keys, and under
        each of these leaves of one class. `named`: whether the keys stand in the frame for the wholes."""
        found = columns(records, _STEPS_LIMIT - len(self.steps), _LEAVES)
        if found is None or not self.steps.isdisjoint(found[0]):
            return False
        for name, column in zip(*found):
            self.steps.add(name)
            if named:
                self.names[name] = None
            pile = self.piles[name, id(type(column[0])), True] = _Pile(self.node, type(column[0]), 0, self.made, leaf=True)
            pile.places.append((places[0], locate.value_of, name))
            pile.objects = column
        return True

    def add_columns(self, names: tuple[str, ...], columns: list[list[Any]], places: Sequence[Place]) -> bool:
        """The fields of all instances of a node at once, if all that they hold are leaves."""
        if len(names) > _STEPS_LIMIT - len(self.steps) or not self.steps.isdisjoint(names):
            return False
        firsts = []
        for j, column in enumerate(columns):
            if (found := leaves_by_class(column, _LEAVES, _TIMES)) is None:
                return False
            firsts += [(at, j, alike) for _, alike, (at,) in found]
        for at, j, alike in sorted(firsts, key=lambda first: first[:2]):  # in the order in which they are met
            cls = type(alike[0])
            pile = self.piles[names[j], id(cls), True] = _Pile(self.node, cls, 0, self.made, leaf=True)
            pile.places.append((places[at], locate.attribute, names[j]))
            pile.objects = alike
        self.steps.update(names)
        return True

    def add_sequences(self, wholes: list[Any], word: Word, places: Sequence[Place]) -> bool:
        """All sequences of a node at once, if all that they hold are leaves."""
        items = list(itertools.chain.from_iterable(wholes))
        if (found := leaves_by_class(items, _LEAVES, _TIMES)) is None:
            return False
        self.lengths += map(len, wholes)
        for _, alike, (at,) in found:
            first, whole = items[at], 0
            while at >= self.lengths[whole]:
                at -= self.lengths[whole]
                whole += 1
            pile = self.piles[word, id(type(first)), True] = _Pile(self.node, type(first), 0, self.made, leaf=True)
            pile.places.append((places[whole], word, first if word is locate.member else at))
            pile.objects = alike
        return True

    def add_zones(self, times: list[Any], places: Sequence[Place], level: int) -> None:
        """The time zones of all times of a node."""
        self.content += [time.replace(tzinfo=None) for time in times]
        for _, alike, indices in by_class([time.tzinfo for time in times], _LEAVES, _TIMES):
            self.add(alike[0], locate.attribute, "tzinfo", places[indices[0]], True, level)
            pile = self.piles["tzinfo", id(type(alike[0])), False]
            pile.objects += alike[1:]
            pile.places.extend([(places[i], locate.attribute, "tzinfo") for i in indices[1:]])

    def add_items(self, items: list[Any], word: Word, place: Place, level: int) -> None:
        """The items of a sequence."""
        for leaf, alike, indices in by_class(items, _LEAVES, _TIMES):
            key = word, id(type(alike[0])), leaf
            if (pile := self.piles.get(key)) is None:
                pile = self.piles[key] = _Pile(self.node, type(alike[0]), level, self.made, leaf)
                if leaf:
                    pile.places.append((place, word, alike[0] if word is locate.member else indices[0]))
            if not leaf and not pile.objects and word is locate.index and len(alike) == len(items):
                pile.places = PlacesByIndex(place, word, len(items))
            elif not leaf:
                pile.places.extend([(place, word, argument) for argument in (alike if word is locate.member else indices)])
            pile.objects += alike


class _Walk:
    def __init__(self, track_refs: bool, max_depth: int, fallback: Literal["cloudpickle", "pickle"] | None) -> None:
        self.track_refs = track_refs
        self.max_depth = max_depth
        self.fallback = fallback
        self.parts = Parts()
        self.seen = Seen()
        self.whole: dict[int, object] = {}  # instances in which a tree keeps identity
        self.made_by: dict[int, object] = {}  # classes and callables, of which a frame has one copy
        self.nodes: list[Explanation] = []
        self.repeats = False
        self.computed = False
        self.calls = 0

    def explain(self, root: object) -> Explanation:
        if not self.track_refs:
            self.whole = {id(instance): instance for instance in locate.cyclic_instances(root)}
        pile = _Pile(None, type(root), 1, made=0, leaf=_is_leaf(root))
        pile.objects.append(root)
        pile.places.append((None, locate.root_word, None))
        piles = [pile]
        while piles:
            piles += reversed(self.look_at(piles.pop()))
        for node in reversed(self.nodes):
            node.nbytes += sum(child.nbytes for child in node.children)
        self.seen = Seen()  # what nothing else refers to is packed faster
        self.compare(root)
        return self.nodes[0]

    def compare(self, root: object) -> None:
        """Let dumps have the last word."""
        if self.computed or self.calls > _CALLS_LIMIT or (self.repeats and not self.track_refs and not self.unfolds(root)):
            return  # it might never end, or do what nobody asked for
        top = self.nodes[0]
        try:
            top.nbytes = pack(root, track_refs=self.track_refs, max_depth=self.max_depth, fallback=self.fallback).nbytes
        except Exception as error:
            if not any(node._failures for node in self.nodes):
                top._failures.append(Failure("$", top.type_name, _text(error)))
        else:
            for node in self.nodes:
                node._failures.clear()

    def unfolds(self, root: object) -> bool:
        """Whether the tree, in which what is shared comes again and again, is not much more than what was looked at."""
        walks = [self.parts.of(root) or iter(())]
        left = _UNFOLDED_LIMIT
        while walks and left:
            part = next(walks[-1], None)
            if part is None:
                walks.pop()
                continue
            left -= 1
            if id(part[0]) not in self.whole and (walk := self.parts.of(part[0])) is not None:
                walks.append(walk)
        return left > 0

    # What a pile holds.

    def look_at(self, pile: _Pile) -> list[_Pile]:
        """Tell what the parts of a pile are; return the piles of their parts."""
        if pile.leaf:
            leaves = _Group(self.node(pile, pile.objects[0], pile.places[0], "native", ""))
            leaves.objects, leaves.places = pile.objects, pile.places
            leaves.node.count = len(pile.objects)
            self.measure(leaves)
            return []
        level = pile.level + (id(pile.cls) not in _TIMES)
        if (group := self.alike(pile)) is not None:
            return self.look_into(group, pile, level)
        groups: dict[tuple[Any, ...], _Group] = {}
        for obj, place, times in self.once_and_again(pile):
            known = self.seen.place(obj)
            if known is not None and obj is not _EMPTY:
                self.meet_again(groups, pile, obj, place, known, times)
                continue
            if id(pile.cls) not in _NOT_NUMBERED:
                self.seen.note(obj, place)
            plan, reason, walk = self.decide(obj, pile.made)
            deep = pile.level > self.max_depth and (pile.cls is range or (walk is not None and id(pile.cls) not in _TIMES))
            if deep:
                reason, walk = "deeper than max_depth", None
            key = plan, reason, walk is None
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(self.node(pile, obj, place, plan, reason))
                group.measured = not deep and reason not in (_ENDLESS, _COMPUTED)
            group.node.count += 1
            group.objects.append(obj)
            group.places.append(place)
            if walk is not None:
                group.walks.append(walk)
            if deep:
                path = _path(place)
                self.fail(group, obj, path, errors.depth_exceeded(path, self.max_depth, decoding=False, stack=False))
        return [part for group in groups.values() for part in self.look_into(group, pile, level)]

    def once_and_again(self, pile: _Pile) -> Iterator[tuple[Any, Place, int]]:
        """The parts of a pile, their places, and how many they stand for: what comes again, comes a second time for all others."""
        events = None
        if id(pile.cls) not in _NOT_NUMBERED and (pile.cls is not tuple or all(pile.objects)):
            # Nothing leads from a unit back to what holds it.
            events = repeated(pile.objects, pile.places, id(pile.cls) in _UNITS)
        if events is None:
            yield from zip(pile.objects, pile.places, itertools.repeat(1))
            return
        for i, times in events:
            yield pile.objects[i], pile.places[i], times

    def alike(self, pile: _Pile) -> _Group | None:
        """The parts of a pile as one group, all at once, where it is clear that none was met before and all take one plan."""
        if pile.level > self.max_depth or len(pile.objects) == 1 or (pile.cls is tuple and not all(pile.objects)):
            return None
        kind, reason = "native", ""
        if id(pile.cls) not in _SEQUENCES and id(pile.cls) not in _MAPPINGS and id(pile.cls) not in _TIMES:
            if id(pile.cls) in locate.NATIVES or self.whole:
                return None
            plan = self.parts.plan(pile.cls)
            if plan.kind not in ("FIELDS", "ROWS"):
                return None
            kind, reason = plan.kind, plan.reason
        if id(pile.cls) not in _NOT_NUMBERED and not self.seen.note_all(pile.objects, pile.places):
            return None
        group = _Group(self.node(pile, pile.objects[0], pile.places[0], kind, reason))
        group.node.count = len(pile.objects)
        group.objects, group.places = pile.objects, pile.places
        at_once = id(pile.cls) in _SEQUENCES or id(pile.cls) in _TIMES
        group.walks = itertools.repeat(iter(())) if at_once else map(self.parts.of, pile.objects)
        with suppress(Exception):  # what raises has no parts
            if kind == "FIELDS" and plan.has_dict and not plan.slots:
                group.fields = [object.__getattribute__(obj, "__dict__") for obj in pile.objects]
            elif kind == "FIELDS" and not plan.has_dict:
                group.columns = tuple(name for name, _ in plan.slots), [list(map(slot.__get__, pile.objects)) for _, slot in plan.slots]
            elif kind == "ROWS" and set(map(tuple.__len__, pile.objects)) == {len(pile.cls._fields)}:  # type: ignore[attr-defined]
                group.columns = pile.cls._fields, list(map(list, zip(*map(tuple.__iter__, pile.objects))))  # type: ignore[attr-defined]
        return group

    def add_maker(self, sorter: _Sorter, made_by: Any, argument: Any, place: Place, level: int) -> None:
        """The class or callable that an object is made by: a frame has one copy of it."""
        if id(made_by) in self.made_by:
            return
        self.made_by[id(made_by)] = made_by
        if (name := self.name_of(made_by)) is not None:
            sorter.content += name
        else:
            sorter.add(made_by, locate.maker, argument, place, True, level)

    def add_fields(self, sorter: _Sorter, cls: type, group: _Group, level: int) -> bool:
        """The fields of all instances of a node at once."""
        if group.columns is None and group.fields is None:
            return False
        self.add_maker(sorter, cls, "class", group.places[0], level)
        if group.columns is not None:
            return sorter.add_columns(*group.columns, group.places)
        return sorter.add_records(group.fields or [], group.places, named=False)

    def node(self, pile: _Pile, obj: Any, place: Place, plan: str, reason: str) -> Explanation:
        node = Explanation(place, self.name(obj), plan, reason)
        self.nodes.append(node)
        if pile.parent is not None:
            pile.parent.children.append(node)
        return node

    def meet_again(
        self, groups: "dict[tuple[Any, ...], _Group]", pile: _Pile, obj: Any, place: Place, earlier: Place, times: int
    ) -> None:
        self.repeats = self.repeats or self.parts.of(obj) is not None
        above: Place | None = place
        while above is not None and above is not earlier:
            above = above[0]
        contains_itself = above is not None
        key = "REF", contains_itself
        if (group := groups.get(key)) is None:
            reason = "leads back to" if contains_itself else "met before, at" if self.track_refs else "written again, as at"
            group = groups[key] = _Group(self.node(pile, obj, place, "REF", f"{reason} {errors.shorten(_path(earlier))}"))
            group.measured = False
        group.node.count += times
        if contains_itself and not self.track_refs:
            path = _path(earlier)
            for _ in range(times):
                self.fail(group, obj, path, errors.contains_itself(path))

    def look_into(self, group: _Group, pile: _Pile, level: int) -> list[_Pile]:
        """Sort the parts of a group into piles."""
        if not group.walks:
            self.measure(group)
            return []
        cls = pile.cls
        sorter = _Sorter(group.node, pile.made)
        word = locate.member if id(cls) in _SETS else locate.index
        if id(cls) in _SEQUENCES:
            at_once = sorter.add_sequences(group.objects, word, group.places)
        elif id(cls) in _MAPPINGS:
            at_once = sorter.add_records(group.objects, group.places, named=True)
        elif id(cls) in _TIMES:
            sorter.add_zones(group.objects, group.places, level)
            at_once = True
        else:
            at_once = self.add_fields(sorter, cls, group, level)
        for obj, place, walk in () if at_once else zip(group.objects, group.places, group.walks):
            if id(cls) in _SEQUENCES:
                sorter.lengths.append(len(obj))
                sorter.add_items(list(obj), word, place, level)
                continue
            keyed = id(cls) not in _MAPPINGS or len(obj) <= _STEPS_LIMIT
            for part, step, argument in walk:
                if step is locate.maker:
                    self.add_maker(sorter, part, argument, place, level)
                elif step is locate.nothing and level <= self.max_depth:
                    self.seen.note(part, place)
                    few = len(part) <= _STEPS_LIMIT
                    for inner, step, argument in locate.pairs(part):
                        sorter.add(inner, step, argument, place, few, level + 1)
                else:
                    sorter.add(part, step, argument, place, keyed, level)
        with suppress(Exception):
            group.node.nbytes += self.size(sorter.own())
        return list(sorter.piles.values())

    def decide(self, obj: Any, made: int) -> tuple[str, str, Iterator[Part] | None]:
        """The plan of an object, why, and its parts if it is not packed as one."""
        if type(obj) is np.ndarray and obj.dtype.hasobject and obj.dtype.names:
            return "REDUCE", "an array whose records hold objects", None
        if self.parts.native(obj):
            flat = id(type(obj)) in _UNITS or (type(obj) is np.ndarray and obj.dtype != object)
            return "native", "", None if flat else self.parts.of(obj)
        plan = self.parts.plan(type(obj))
        kind, reason = plan.kind, plan.reason
        if id(obj) in self.whole:
            return kind, "it contains itself, so that identity is kept in it", None
        if kind == "REFERENCE":
            return self.refer(obj, reason)
        if kind in ("REDUCE", "HOOK"):
            self.calls += made
            if made and self.calls > _CALLS_LIMIT:
                return kind, _ENDLESS, None
            return self.ask(obj, plan)
        if kind in ("DTYPE", "SCALAR"):
            return ("REDUCE", declined(plan, type(obj)).reason, None) if kind == "DTYPE" and describe(obj) is None else ("native", "", None)
        if kind == "ARRAY" and not numpy_classes.goes_without_reducer(obj):
            return self.ask(obj, declined(plan, type(obj)))
        return kind, reason, self.parts.of(obj) if kind != "ARRAY" or obj.dtype == object else None

    def refer(self, obj: Any, reason: str, name: str | None = None) -> tuple[str, str, None]:
        with suppress(Exception):  # pack tells
            if reference(obj, self.fallback, name) is None:
                return "VALUE", "it cannot be imported, or is not to be", None
        return "REFERENCE", reason, None

    def name_of(self, maker: Any) -> tuple[str, str] | None:
        """Module and name of a class or callable, or None if it is not packed by these alone."""
        with suppress(Exception):
            kind = self.parts.plan(type(maker)).kind
            name = reduce(maker) if kind == "REDUCE" else None
            if kind == "REFERENCE" or isinstance(name, str):
                return reference(maker, self.fallback, name if isinstance(name, str) else None)
        return None

    def ask(self, obj: Any, plan: Plan) -> tuple[str, str, Iterator[Part] | None]:
        """Call the reducer or the hook."""
        try:
            while plan.hook is not None:
                if plan.hook.computes:
                    self.computed = True
                    return plan.kind, _COMPUTED, None
                payload = plan.hook.encode(obj)
                if payload is not NotImplemented:
                    return plan.kind, plan.reason, iter([(payload, locate.attribute, "hook")])
                plan = declined(plan, type(obj))
            if plan.kind != "REDUCE":
                return plan.kind, plan.reason, self.parts.by_plan(obj, plan)
            reduced = reduce(obj)
        except Exception as error:
            if plan.kind != "REDUCE":
                return plan.kind, plan.reason, None  # pack tells
            with suppress(Exception):
                if self.fallback == "cloudpickle" and Reducers()().reduce(obj) is not None:
                    return "VALUE", "cloudpickle takes it apart", None
            reason = f"its reducer refuses: {_text(error)}" if is_refusal(error) else plan.reason
            return plan.kind, reason, None
        if isinstance(reduced, str):
            return self.refer(obj, "its reducer gives its name", reduced)
        return plan.kind, plan.reason, locate.reduced_parts(reduced)

    # Bytes and failures.

    def measure(self, group: _Group) -> None:
        """The bytes of what has no parts; and which of it fails."""
        if not group.measured:
            return
        with suppress(Exception):
            group.node.nbytes += self.size(group.objects)
            return
        for obj, place in zip(group.objects, itertools.chain(group.places, itertools.repeat(group.places[0]))):
            try:
                group.node.nbytes += self.size([obj])
            except Exception as error:
                path = _path(place)
                self.fail(group, obj, path, _text(error).replace(" at $[0]", f" at {errors.shorten(path)}", 1))

    def size(self, values: list[Any]) -> int:
        """What values take in a frame of their own beyond an empty one."""
        packed = pack(values, track_refs=self.track_refs, max_depth=10**6, fallback=self.fallback)
        return max(packed.nbytes - _EMPTY_SIZE, 0)

    def fail(self, group: _Group, obj: Any, path: str, reason: object) -> None:
        group.node._failures.append(Failure(path, self.name(obj), str(reason)))

    def name(self, obj: object) -> str:
        try:
            return errors.type_name(obj)
        except Exception:
            return "object of a class without a name"


# --- pieces ------------------------------------------------------------------------------------------------------------


def _path(place: Place) -> str:
    steps = []
    at: Place | None = place
    while at is not None:
        at, word, argument = at
        steps.append(word(argument))
    return "".join(reversed(steps))


def _is_leaf(obj: Any) -> bool:
    """Whether it is native, holds nothing, and is never met again."""
    cls = id(type(obj))
    return cls in _LEAVES or (cls in _TIMES and obj.tzinfo is None)


def _text(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        text = "an error without words"
    return text if isinstance(error, errors.FastserError) else f"{type(error).__name__}: {text}"


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    return f"{text[: width // 2 - 1]} … {text[1 - width // 2 :]}"
