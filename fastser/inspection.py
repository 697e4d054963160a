"""What a frame would run: read with ``safe=True`` it is rebuilt once with stand-ins, and those are looked at, before anything happens."""

from collections.abc import Iterable, Iterator
from typing import Any

from fastser import errors, fallback, locate
from fastser.hooks import Hook, built_in, built_in_named, class_name

_INSTANCE = "an instance"


class StandIn:
    """Takes the place of what only Python code could make.

    Parameters
    ----------
    what : str
        For messages.
    place : str
        Where in the frame it was read.
    cls : StandIn or object, optional
        The class or callable that makes it.
    reference : (str, str), optional
        Module and name, of what is found by them.
    hook : str, optional
        The name of a hook that decodes it.
    """

    __slots__ = ("what", "place", "cls", "reference", "hook", "parts")

    def __init__(self, what: str, place: str, cls: Any = None, reference: tuple[str, str] | None = None, hook: str | None = None) -> None:
        self.what = what
        self.place = place
        self.cls = cls
        self.reference = reference
        self.hook = hook
        self.parts: list[tuple[Any, Any]] = []  # names or places, and what lies there

    def __str__(self) -> str:
        if self.cls is None:
            return self.what
        return f"{self.what} of {self.cls if isinstance(self.cls, StandIn) else errors.type_name(self.cls)}"

    def __repr__(self) -> str:
        # In paths, as a key or a member.
        return errors.shorten(str(self if self.cls is None else self.cls))


def names(allow: Iterable[type | str]) -> dict[str, type | None]:
    """Return the names of what may be rebuilt from fields, with the classes where they were given.

    Raises
    ------
    TypeError
        There is something else than classes and names among them.
    """
    if isinstance(allow, (str, bytes)) or not isinstance(allow, Iterable):
        raise errors.bad_option("allow", "a sequence of classes and their full names", allow)
    allowed: dict[str, type | None] = {}
    for entry in allow:
        # list[int] says that it is an instance of type, up to Python 3.10.
        if isinstance(entry, type) and issubclass(type(entry), type):
            allowed[class_name(entry)] = entry
        elif type(entry) is str and "." in entry and all(part.isidentifier() for part in entry.split(".")):
            allowed.setdefault(entry)
        else:
            raise errors.bad_option("allow", "a sequence of classes and their full names", entry)
    return allowed


def check(root: Any, found: list[StandIn], allowed: dict[str, type | None]) -> dict[str, type | Hook]:
    """Return the classes and built-in hooks, by name, that a frame needs, or refuse it.

    Parameters
    ----------
    root : object
        What was read, with stand-ins.
    found : list of StandIn
        All of them, in the order of the frame.
    allowed : dict
        What `names` returned.

    Raises
    ------
    UnsafeDataError
        Something else than the fields of these classes, or the hook that is built in for one, is needed.
    """
    hooks = {hook.name for cls in allowed.values() if cls is not None and (hook := built_in(cls)) is not None}
    for part in found:
        if part.reference:
            is_allowed = str(part) in allowed
        elif part.hook is not None:
            is_allowed = part.hook in hooks or part.hook in allowed
        else:
            is_allowed = part.what == _INSTANCE and isinstance(part.cls, StandIn) and part.cls.reference is not None
        if not is_allowed:
            raise errors.unsafe(str(part), _path(root, part) or part.place)
    classes: dict[str, type | Hook] = {}
    for part in found:
        if part.hook is not None:
            # What users register may do anything; what is built in makes objects of that class alone.
            try:
                hook = built_in_named(part.hook)
            except ImportError as error:
                raise errors.cannot_find(*part.hook.rpartition(".")[::2], error, part.place) from error
            if hook is None:
                raise errors.unsafe(str(part), _path(root, part) or part.place)
            classes[str(part)] = hook
        elif part.reference:
            cls = allowed[str(part)]
            if cls is None:
                try:
                    cls = fallback.resolve(*part.reference)
                except Exception as error:
                    raise errors.cannot_find(*part.reference, error, part.place) from error
            if not isinstance(cls, type):
                raise errors.unsafe(f"{part}, which is no class,", _path(root, part) or part.place)
            classes[str(part)] = cls
        elif fallback.protocol_plan(classes[str(part.cls)]).kind not in ("FIELDS", "ROWS", "ARRAY"):
            raise errors.unsafe(f"more of {part.cls} than its fields", _path(root, part) or part.place)
    return classes


def _path(root: Any, target: StandIn) -> str | None:
    """Where a stand-in lies, or the first thing that is made by it."""
    parts = locate.Parts()
    if root is target or isinstance(root, StandIn) and root.cls is target:
        return "$"
    walks: list[Iterator[locate.Part]] = [_parts_of(root, parts)]
    segments = ["$"]
    seen = {id(root)}
    while walks:
        for part, word, argument in walks[-1]:
            if part is target or isinstance(part, StandIn) and part.cls is target:
                return "".join(segments) + _step(word, argument)
            if id(part) not in seen:
                seen.add(id(part))
                walks.append(_parts_of(part, parts))
                segments.append(_step(word, argument))
                break
        else:
            walks.pop()
            segments.pop()
    return None


def _step(word: locate.Word, argument: Any) -> str:
    if isinstance(argument, StandIn):
        if word is locate.key_itself:
            return f".key({argument!r})"
        if word is locate.member:
            return f"{{{argument!r}}}"
    return word(argument)


def _parts_of(obj: Any, parts: locate.Parts) -> Iterator[locate.Part]:
    if not isinstance(obj, StandIn):
        return (parts.of(obj) if parts.native(obj) else None) or iter(())
    return ((part, _place, place) for place, part in obj.parts)


def _place(place: Any) -> str:
    return "" if place is None else f".{place}" if type(place) is str else f"[{place}]"
