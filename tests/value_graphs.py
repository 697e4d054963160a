"""Random graphs of what goes by value: functions, classes and modules that lead to each other and to data, in cycles too."""

import collections
import functools
import types
import weakref

import numpy as np

MODULE = """
def ask():
    return held, ask, Made
class Made:
    def ask(self):
        return held, self
"""


class Graph:
    """Makes nodes, then links them.

    Parameters
    ----------
    choose : callable
        ``choose(n)`` is one of ``range(n)``.
    kinds : sequence of str, optional
        What to make; everything by default.
    make_class : callable, optional
        Makes another class, by a number.
    """

    def __init__(self, choose, kinds=None, make_class=None):
        self.choose = choose
        self.kinds = kinds or sorted(_MAKERS)
        self.make_class = make_class or local_class
        self.nodes = []
        self.links = []  # of (takes hashable ones only, how many at most, what takes them)
        self.hashable, self.functions, self.instances, self.weak = [], [], [], []
        self.count = 0

    def build(self, size):
        for _ in range(size):
            _MAKERS[self.kinds[self.choose(len(self.kinds))]](self)
        for only_hashable, most, link in self.links:
            pool = self.hashable if only_hashable else self.nodes
            count = self.choose(most + 1)
            link([pool[self.choose(len(pool))] for _ in range(count)] if pool else [])
        return self

    def root(self):
        """All nodes; what refers weakly to others comes with them."""
        first = [self.nodes[self.choose(len(self.nodes))] for _ in range(self.choose(3))]
        return [first, self.nodes]

    def add(self, node, *, link=None, most=3, only_hashable=False, hashable=True):
        self.nodes.append(node)
        if hashable:
            self.hashable.append(node)
        if link is not None:
            self.links.append((only_hashable, most, link))
        return node

    def number(self):
        self.count += 1
        return self.count

    def some(self, pool, most):
        return [pool[self.choose(len(pool))] for _ in range(self.choose(most + 1))] if pool else []

    def one(self, pool, make):
        return pool[self.choose(len(pool))] if pool and self.choose(3) else make(self)


def named(graph, fn):
    fn.__name__ = f"{fn.__name__}_{graph.number()}"
    graph.functions.append(fn)
    return fn


def local_class(number):
    class Local:
        def __init__(self, tag):
            self.tag = tag

        def me(self, *more):
            return self, Local, more

        @property
        def itself(self):
            return self

    Local.__qualname__ = f"Local{number}"
    return Local


# --- functions ----------------------------------------------------------------------------------------------------------


def closure(graph):
    held = None

    def look():
        return held

    def link(targets):
        nonlocal held
        held = targets[0] if len(targets) == 1 else targets or None

    return graph.add(named(graph, look), link=link)


def pair(graph):
    """Two functions that share a cell, which one of them changes."""
    held = None

    def get():
        return held

    def put(value):
        nonlocal held
        held = value

    graph.add(named(graph, get), link=lambda targets: put(targets[0] if targets else None), most=1)
    return graph.add(named(graph, put))


def defaults(graph):
    fn = named(graph, lambda x=None, *, y=None: (x, y))

    def link(targets):
        fn.__defaults__ = tuple(targets[:1]) or None
        fn.__kwdefaults__ = {"y": targets[1]} if len(targets) > 1 else None

    return graph.add(fn, link=link)


def attributes(graph):
    def with_attributes():
        return with_attributes.at_0

    fn = named(graph, with_attributes)
    return graph.add(fn, link=lambda targets: fn.__dict__.update((f"at_{i}", target) for i, target in enumerate(targets)))


def method(graph):
    return graph.add(graph.one(graph.instances, instance).me)


def partial(graph):
    made = functools.partial(graph.one(graph.functions, closure), *graph.some(graph.nodes, 2), k=1)
    return graph.add(made, link=lambda targets: vars(made).update((f"at_{i}", target) for i, target in enumerate(targets)))


def wrapper(graph):
    make = property, staticmethod, classmethod
    return graph.add(make[graph.choose(3)](graph.one(graph.functions, closure)))


def cached(graph):
    made = functools.lru_cache(maxsize=3)(graph.one(graph.functions, closure))
    graph.functions.append(made)
    return graph.add(made, link=lambda targets: vars(made).update((f"at_{i}", target) for i, target in enumerate(targets)))


def builtin_method(graph):
    owner = graph.add([], link=lambda targets: owner.extend(targets), hashable=False)
    return graph.add(owner.append, hashable=False)


# --- classes, instances, modules ----------------------------------------------------------------------------------------


def class_(graph):
    made = graph.make_class(graph.number())

    def link(targets):
        for i, target in enumerate(targets):
            setattr(made, f"at_{i}", target)

    return graph.add(made, link=link)


def instance(graph):
    classes = [node for node in graph.nodes if isinstance(node, type)]
    made = graph.one(classes, class_)(graph.number())
    graph.instances.append(made)
    return graph.add(made, link=lambda targets: vars(made).update((f"at_{i}", target) for i, target in enumerate(targets)))


def callbacks(graph):
    """A run of instances, each of which has a function that leads back to it."""
    cls = graph.one([node for node in graph.nodes if isinstance(node, type)], class_)
    events = graph.add([], hashable=False)
    made = [cls(graph.number()) for _ in range(graph.choose(40))]
    for one in made:
        kind = graph.choose(3)
        one.callback = (lambda value, one=one: events.append((one, value))) if kind else one.me
        one.events = events
    graph.instances += made
    graph.add(made, link=made.extend, hashable=False)
    return events


def module(graph):
    made = types.ModuleType(f"made_up_{graph.number()}")
    exec(MODULE, vars(made))
    made.held = None
    graph.add(made.ask)

    def link(targets):
        made.held = targets

    return graph.add(made, link=link)


def weak(graph):
    kind = graph.choose(3)
    made = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)[kind]()
    for i in range(graph.choose(4)):
        held = graph.one(graph.instances, instance)
        if kind == 0:
            made[held] = graph.nodes[graph.choose(len(graph.nodes))]
        elif kind == 1:
            made[i] = held
        else:
            made.add(held)
    return graph.add(made, hashable=False)


# --- data ---------------------------------------------------------------------------------------------------------------


def list_(graph):
    made = []
    return graph.add(made, link=lambda targets: made.extend(targets * (1 + 20 * (graph.choose(8) == 0))), hashable=False)


def dict_(graph):
    made = {}
    return graph.add(made, link=lambda targets: made.update((f"k{i}", target) for i, target in enumerate(targets)), hashable=False)


def keys(graph):
    made = {}
    return graph.add(made, link=lambda targets: made.update((target, i) for i, target in enumerate(targets)), only_hashable=True, hashable=False)


def set_(graph):
    made = set()
    return graph.add(made, link=made.update, only_hashable=True, hashable=False)


def tuple_(graph):
    items = graph.some(graph.nodes, 3) * (1 + 20 * (graph.choose(8) == 0))
    return graph.add((*items, graph.number()), hashable=all(item in graph.hashable for item in items if is_hashable(item)) and all(map(is_hashable, items)))


def frozenset_(graph):
    return graph.add(frozenset([*graph.some(graph.hashable, 3), graph.number()]))


def defaultdict(graph):
    made = collections.defaultdict(graph.one(graph.functions, closure))
    return graph.add(made, link=lambda targets: made.update(enumerate(targets)), hashable=False)


def array(graph):
    return graph.add(np.arange(graph.choose(3) * 100.0), hashable=False)


def view(graph):
    arrays = [node for node in graph.nodes if type(node) is np.ndarray and node.dtype != object]
    return graph.add(graph.one(arrays, array)[:], hashable=False)


def objects(graph):
    made = np.empty(2, object)

    def link(targets):
        for i, target in enumerate(targets[:2]):
            made[i] = target

    return graph.add(made, link=link, hashable=False)


def is_hashable(item):
    try:
        hash(item)
    except TypeError:
        return False
    return True


_MAKERS = {
    maker.__name__.strip("_"): maker
    for maker in (
        *(closure, pair, defaults, attributes, method, partial, wrapper, cached, builtin_method),
        *(class_, instance, callbacks, module, weak),
        *(list_, dict_, keys, set_, tuple_, frozenset_, defaultdict, array, view, objects),
    )
}
KINDS = sorted(_MAKERS)
