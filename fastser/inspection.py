"""What a frame would run: read with ``safe=True`` it is rebuilt once with stand-ins, and those are looked at, before anything happens."""

from collections.abc import Iterator
from typing import Any

from fastser import errors, fallback, locate
from fastser.allow import STANDARD, Allowed
from fastser.hooks import INTEGRATIONS, Hook, built_in_named
from fastser.standard import HOOKS

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
    called : bool
        Of what is found by name: whether it was read as what makes something, and not as an object.
    made : int
        Of what a call makes: the sum of its parts, as the frame has it.
    """

    __slots__ = ("what", "place", "cls", "reference", "hook", "called", "made", "parts")

    def __init__(
        self,
        what: str,
        place: str,
        cls: Any = None,
        reference: tuple[str, str] | None = None,
        hook: str | None = None,
        called: bool = False,
        made: int = 0,
    ) -> None:
        self.what = what
        self.place = place
        self.cls = cls
        self.reference = reference
        self.hook = hook
        self.called = called
        self.made = made
        self.parts: list[tuple[Any, Any]] = []  # names or places, and what lies there

    def __str__(self) -> str:
        if self.cls is None:
            return self.what
        return f"{self.what} of {self.cls if isinstance(self.cls, StandIn) else errors.type_name(self.cls)}"

    def __repr__(self) -> str:
        # In paths, as a key or a member.
        return errors.shorten(str(self if self.cls is None else self.cls))


def check(root: Any, found: list[StandIn], allowed: Allowed) -> dict[str | int, Any]:
    """Return what a frame needs, or refuse it.

    Parameters
    ----------
    root : object
        What was read, with stand-ins.
    found : list of StandIn
        All of them, in the order of the frame.
    allowed : Allowed

    Returns
    -------
    dict
        By names, what is found by them, and the hooks that are built in. By the addresses of what is found, how it is made.

    Raises
    ------
    UnsafeDataError
        Something else is needed.
    """
    for part in found:
        remedy = _obstacle(part, allowed)
        if remedy is not None:
            raise errors.unsafe(str(part), _path(root, part) or part.place, remedy)
    needed: dict[str | int, Any] = {}
    for part in found:
        if part.hook is not None:
            # What users register may do anything; what is built in makes objects of that class alone.
            try:
                hook = built_in_named(part.hook)
            except ImportError as error:
                raise errors.cannot_find(*part.hook.rpartition(".")[::2], error, part.place) from error
            if hook is None:
                raise errors.unsafe(str(part), _path(root, part) or part.place, errors.HOOK_OF_USERS)
            needed[str(part)] = _checking(hook)
        elif part.reference is not None and str(part) not in needed:
            try:
                way = allowed.ways[str(part)].ready()
            except Exception as error:
                raise errors.cannot_find(*part.reference, error, part.place) from error
            needed[str(part)] = way.found
            needed[id(way.found)] = way
    for part in found:
        if part.what == _INSTANCE and fallback.protocol_plan(needed[str(part.cls)]).kind not in ("FIELDS", "ROWS", "ARRAY"):
            raise errors.unsafe(f"more of {part.cls} than its fields", _path(root, part) or part.place, errors.not_fields(str(part.cls)))
    return needed


def _obstacle(part: StandIn, allowed: Allowed) -> str | None:
    """Why a part is not allowed, with what to do; None where it is."""
    if part.hook is not None:
        if part.hook in allowed.hooks:
            return None
        return errors.IS_STANDARD if part.hook in STANDARD else errors.HOOK_OF_USERS if not _is_built_in(part.hook) else errors.NOT_ALLOWED
    if part.reference is not None:
        way = allowed.ways.get(str(part))
        if way is not None:
            return None if way.value or part.called else errors.NO_DATA
        if part.reference[0].partition(".")[0] == "fastser" and str(part) not in STANDARD:
            return errors.BY_VALUE
        return errors.IS_STANDARD if str(part) in STANDARD else errors.NOT_ALLOWED
    if not isinstance(part.cls, StandIn) or part.cls.reference is None:
        return errors.NO_DATA
    way = allowed.ways.get(str(part.cls))
    if way is None:
        return _obstacle(part.cls, allowed)
    if part.what == _INSTANCE:
        return None if way.fields else errors.not_fields(str(part.cls))
    return None if way.takes(part.made) else errors.is_called(str(part.cls))


def _checking(hook: Hook) -> Hook:
    """The hook, with a look at what it is given."""
    _, check = HOOKS.get(hook.name, ("", None))

    def decode(payload: Any) -> Any:
        check(payload)  # type: ignore[misc]
        return hook.decode(payload)

    return hook if check is None else hook._replace(decode=decode)


def _is_built_in(hook: str) -> bool:
    return hook.partition(".")[0] in INTEGRATIONS


def requirements(found: list[StandIn]) -> dict[str, tuple[str, ...]]:
    """The names among stand-ins, and how each is used."""
    uses: dict[str, set[str]] = {}
    for part in found:
        if part.hook is not None:
            uses.setdefault(part.hook, set()).add("hook")
        elif part.reference is not None:
            if not part.called:
                uses.setdefault(str(part), set()).add("value")
        elif isinstance(part.cls, StandIn) and part.cls.reference is not None:
            uses.setdefault(str(part.cls), set()).add("fields" if part.what == _INSTANCE else "call")
    for part in found:  # those that nothing was made by after all
        if part.reference is not None:
            uses.setdefault(str(part), {"call"})
    made = {"fields", "call"}
    return {name: tuple(sorted(uses[name] & made or uses[name])) for name in sorted(uses)}


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
