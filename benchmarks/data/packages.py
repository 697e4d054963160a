"""Objects of packages that define how they are pickled (the ``packages`` extra): their reducers, states and constructors.

Nothing here has a floor of its own: what is asked is to be no slower than pickle. Each maker imports its package, so that a row
costs nothing where the package is not installed.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import numpy as np

from .rows import row
from .synthetic import words


def of_package(package: str, title: str, n: int, module: str | None = None, **options):
    """A row of `n` objects of one package."""
    return row("packages", f"{title} of {package}", n=n, package=package, module=module or package, **options)


def equal(value: list, loaded: list) -> bool:
    """For objects that make their parts anew each time they are asked, so that their reducers never return the same twice."""
    return value == loaded and list(map(type, value)) == list(map(type, loaded))


def numbers(seed: int, n: int) -> list[float]:
    rng = random.Random(seed)
    return [rng.uniform(1, 100) for _ in range(n)]


def moments(seed: int, n: int) -> list[datetime]:
    rng = random.Random(seed)
    return [datetime(2020, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=rng.randrange(10**8)) for _ in range(n)]


# Numbers and formulas


@of_package("uncertainties", "1,000 numbers", 1000)
def uncertain_numbers(n):
    from uncertainties import ufloat

    return [ufloat(x, x / 100) for x in numbers(300, n)]


@of_package("sympy", "300 expressions", 300)
def expressions(n):
    from sympy import Rational, cos, sin, symbols

    x, y, z = symbols("x y z")
    return [sin(x) ** (i % 7) + cos(y * i) * z + Rational(i, 7) * x * y for i in range(n)]


@of_package("mpmath", "1,000 numbers", 1000)
def multiple_precision_floats(n):
    from mpmath import mpf

    return [mpf(x) / 3 for x in numbers(301, n)]


@of_package("gmpy2", "1,000 rationals", 1000)
def rationals(n):
    from gmpy2 import mpq

    return [mpq(i * i + 1, i + 7) for i in range(n)]


@of_package("pint", "300 quantities", 300)
def quantities(n):
    import pint

    registry = pint.get_application_registry()
    return [registry.Quantity(x, "meter / second ** 2") for x in numbers(302, n)]


@of_package("astropy", "200 quantities", 200)
def units_of_astronomy(n):
    from astropy import units

    return [x * units.km / units.s for x in numbers(303, n)]


@of_package("lmfit", "parameters of 50 fits", 50)
def fit_parameters(n):
    from lmfit import Parameters

    found = []
    for x in numbers(304, n):
        parameters = Parameters()
        for name in ("amplitude", "center", "sigma"):
            parameters.add(name, value=x, min=0)
        found.append(parameters)
    return found


@of_package("portion", "1,000 intervals", 1000)
def intervals(n):
    import portion

    return [portion.closed(x, x + 1) | portion.open(x + 5, x + 7) for x in numbers(305, n)]


@of_package("py-moneyed", "1,000 amounts", 1000, module="moneyed")
def amounts(n):
    from moneyed import Money

    return [Money(Decimal(i) / 4, ("USD", "EUR", "JPY")[i % 3]) for i in range(n)]


# Models and matrices


@of_package("scikit-learn", "a forest of 20 trees", 20, module="sklearn")
def fitted_forest(n):
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(306)
    x = rng.random((500, 8))
    return RandomForestRegressor(n_estimators=n, random_state=0).fit(x, x.sum(axis=1))


@of_package("scikit-learn", "20 pipelines", 20, module="sklearn")
def pipelines(n):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(307)
    x = rng.random((100, 8))
    return [make_pipeline(StandardScaler(), Ridge(alpha=i + 1)).fit(x, x.sum(axis=1)) for i in range(n)]


@of_package("scipy", "100 sparse matrices", 100)
def sparse_matrices(n):
    import scipy.sparse

    return [scipy.sparse.random(50, 50, density=0.1, format="csr", random_state=i) for i in range(n)]


@of_package("xarray", "20 data sets", 20, same=lambda value, loaded: all(map(type(value[0]).identical, value, loaded)))
def labelled_arrays(n):
    import xarray

    rng = np.random.default_rng(308)
    return [
        xarray.Dataset({"t": (("x", "y"), rng.random((8, 8))), "p": ("x", rng.random(8))}, coords={"x": np.arange(8.0)})
        for _ in range(n)
    ]


@of_package("ase", "20 crystals", 20)
def crystals(n):
    from ase.build import bulk

    return [bulk("Cu", cubic=True, a=3.6 + i / 100).repeat((2, 2, 2)) for i in range(n)]


@of_package("rdkit", "300 molecules", 300)
def molecules(n):
    from rdkit import Chem

    return [Chem.MolFromSmiles("C" * (i % 20 + 1) + "(=O)Oc1ccccc1") for i in range(n)]


@of_package("biopython", "200 sequence records", 200, module="Bio")
def sequence_records(n):
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    rng = random.Random(309)
    return [SeqRecord(Seq("".join(rng.choices("ACGT", k=120))), id=f"record{i}", name=f"name{i}") for i in range(n)]


@of_package("shapely", "1,000 polygons", 1000)
def polygons(n):
    from shapely import Point

    return [Point(x, -x).buffer(x, quad_segs=4) for x in numbers(310, n)]


@of_package("trimesh", "10 meshes", 10)
def meshes(n):
    import trimesh

    return [trimesh.creation.icosphere(subdivisions=2, radius=i + 1) for i in range(n)]


# Graphs and trees


@of_package("networkx", "a graph of 500 nodes", 500)
def graph(n):
    import networkx

    return networkx.gnm_random_graph(n, 4 * n, seed=311)


@of_package("igraph", "20 graphs", 20)
def compiled_graphs(n):
    import igraph

    return [igraph.Graph([(a, (a * 7 + i) % 50) for a in range(50)], vertex_attrs={"name": words(random.Random(i), 50)}) for i in range(n)]


@of_package("rustworkx", "a graph of 300 nodes", 300)
def rust_graph(n):
    import rustworkx

    found = rustworkx.PyDiGraph()
    found.add_nodes_from([{"name": f"node {i}"} for i in range(n)])
    found.add_edges_from([(i, i * 7 % n, i / 2) for i in range(n)])
    return found


@of_package("nltk", "200 trees", 200)
def parse_trees(n):
    from nltk.tree import Tree

    return [Tree.fromstring(f"(S (NP (D the) (N dog{i})) (VP (V chased) (NP (D the) (N cat{i}))))") for i in range(n)]


@of_package("anytree", "a tree of 500 nodes", 500)
def any_tree(n):
    from anytree import Node

    nodes = [Node("root")]
    for i in range(1, n):
        nodes.append(Node(f"node {i}", parent=nodes[i // 5]))
    return nodes[0]


@of_package("treelib", "a tree of 500 nodes", 500)
def identified_tree(n):
    from treelib import Tree

    found = Tree(identifier="tree")
    found.create_node("root", 0)
    for i in range(1, n):
        found.create_node(f"node {i}", i, parent=i // 5)
    return found


@of_package("dask", "a delayed graph of 200 tasks", 200)
def task_graph(n):
    from dask.delayed import delayed

    return delayed(sum)([delayed(abs)(i - 100, dask_key_name=f"task {i}") for i in range(n)], dask_key_name="total")


# Collections


@of_package("sortedcontainers", "100 sorted dicts", 100)
def sorted_dicts(n):
    from sortedcontainers import SortedDict

    return [SortedDict({f"key {i}": i for i in range(20)}) for _ in range(n)]


@of_package("bidict", "100 two-way dicts", 100)
def two_way_dicts(n):
    from bidict import bidict

    return [bidict({f"key {i}": i for i in range(20)}) for _ in range(n)]


@of_package("pyrsistent", "100 persistent maps and vectors", 100)
def persistent_collections(n):
    from pyrsistent import pmap, pvector

    return [pmap({f"key {j}": pvector(range(j)) for j in range(8)}) for _ in range(n)]


@of_package("immutables", "100 immutable maps", 100)
def immutable_maps(n):
    from immutables import Map

    return [Map({f"key {j}": i + j for j in range(20)}) for i in range(n)]


@of_package("frozendict", "100 frozen dicts", 100)
def frozen_dicts(n):
    from frozendict import frozendict

    return [frozendict({f"key {j}": i + j for j in range(20)}) for i in range(n)]


@of_package("multidict", "100 headers", 100)
def headers(n):
    from multidict import CIMultiDict

    return [CIMultiDict([(f"X-Header-{j}", f"value {i}") for j in range(10)]) for i in range(n)]


@of_package("cachetools", "20 caches", 20)
def caches(n):
    from cachetools import LRUCache

    found = [LRUCache(maxsize=100) for _ in range(n)]
    for cache in found:
        cache.update({f"key {i}": i for i in range(50)})
    return found


@of_package("boltons", "100 ordered multidicts", 100)
def ordered_multidicts(n):
    from boltons.dictutils import OrderedMultiDict

    return [OrderedMultiDict([(f"key {j % 5}", j) for j in range(20)]) for _ in range(n)]


@of_package("ordered-set", "100 ordered sets", 100, module="ordered_set")
def ordered_sets(n):
    from ordered_set import OrderedSet

    return [OrderedSet(range(i, i + 20)) for i in range(n)]


@of_package("intervaltree", "20 interval trees", 20)
def interval_trees(n):
    from intervaltree import IntervalTree

    return [IntervalTree.from_tuples((j, j + 5, f"data {j}") for j in range(30)) for _ in range(n)]


@of_package("bitarray", "1,000 bit arrays", 1000)
def bit_arrays(n):
    from bitarray import bitarray

    rng = random.Random(312)
    return [bitarray(rng.choices((0, 1), k=100)) for _ in range(n)]


@of_package("pyroaring", "200 bitmaps", 200)
def bitmaps(n):
    from pyroaring import BitMap

    return [BitMap(range(i, i + 500, 3)) for i in range(n)]


@of_package("marisa-trie", "20 tries", 20, module="marisa_trie")
def tries(n):
    from marisa_trie import Trie

    return [Trie([f"word {i} {j}" for j in range(50)]) for i in range(n)]


@of_package("datasketch", "50 sketches", 50)
def sketches(n):
    from datasketch import MinHash

    found = [MinHash(num_perm=64, seed=i + 1) for i in range(n)]
    for sketch in found:
        sketch.update(b"word")
    return found


# Records, times and what else programs pass on


@of_package("attrs", "1,000 instances with slots", 1000, module="attrs")
def attrs_instances(n):
    from .package_classes.of_attrs import Frozen

    return [Frozen(i, f"name {i}", x) for i, x in enumerate(numbers(313, n))]


@of_package("pydantic", "500 models", 500)
def pydantic_models(n):
    from .package_classes.of_pydantic import Model

    return [Model(id=i, name=f"name {i}", price=x) for i, x in enumerate(numbers(314, n))]


@of_package("msgspec", "1,000 structs", 1000)
def structs(n):
    from .package_classes.of_msgspec import Struct

    return [Struct(i, f"name {i}", x) for i, x in enumerate(numbers(315, n))]


@of_package("yarl", "200 URLs", 200)
def addresses(n):
    from yarl import URL

    return [URL(f"https://example.org/path/{i}?a={i}") for i in range(n)]


@of_package("arrow", "300 moments", 300)
def arrow_moments(n):
    import arrow

    return [arrow.get(moment) for moment in moments(316, n)]


@of_package("pendulum", "300 moments", 300, same=equal)
def pendulum_moments(n):
    import pendulum

    return [pendulum.instance(moment) for moment in moments(317, n)]


@of_package("whenever", "300 moments", 300)
def whenever_moments(n):
    from whenever import Instant

    return [Instant.from_timestamp(int(moment.timestamp())) for moment in moments(318, n)]


@of_package("python-dateutil", "300 spans", 300, module="dateutil")
def spans(n):
    from dateutil.relativedelta import relativedelta

    return [relativedelta(months=i % 12, days=i % 28) for i in range(n)]


@of_package("pandas", "300 timestamps with time zones", 300, same=equal)
def timestamps(n):
    import pandas

    return [pandas.Timestamp(moment).tz_convert("Europe/Paris") for moment in moments(319, n)]


@of_package("icalendar", "50 events", 50)
def events(n):
    from icalendar import Event

    found = [Event() for _ in range(n)]
    for i, event in enumerate(found):
        event.add("summary", f"event {i}")
        event.add("dtstart", datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=i))
    return found


@of_package("phonenumbers", "300 phone numbers", 300)
def phone_numbers(n):
    import phonenumbers

    return [phonenumbers.PhoneNumber(country_code=44, national_number=2083661177 + i) for i in range(n)]


@of_package("Babel", "100 locales", 100, module="babel")
def locales(n):
    from babel import Locale

    return [Locale("de", "DE"), Locale("fr"), Locale("ja")] * (n // 3)


@of_package("regex", "50 patterns", 50)
def patterns(n):
    import regex

    return [regex.compile(rf"(?P<word>\w+){i}") for i in range(n)]


@of_package("packaging", "300 versions", 300)
def versions(n):
    from packaging.version import Version

    return [Version(f"{i}.{i % 7}.{i % 3}rc1") for i in range(n)]


@of_package("pyparsing", "200 results", 200)
def parse_results(n):
    from pyparsing import Group, OneOrMore, Word, alphas, nums

    grammar = OneOrMore(Group(Word(alphas)("key") + Word(nums)("value")))
    return [grammar.parse_string(f"a {i} b {i + 1} c {i + 2}") for i in range(n)]


@of_package("lark", "100 parse trees", 100)
def lark_trees(n):
    from lark import Lark

    parser = Lark("start: pair+\npair: WORD NUMBER\n%import common (WORD, NUMBER, WS)\n%ignore WS", parser="lalr")
    return [parser.parse(f"a {i} b {i + 1} c {i + 2}") for i in range(n)]


@of_package("Pillow", "20 images", 20, module="PIL")
def images(n):
    from PIL import Image

    return [Image.new("RGB", (32, 32), (i, i, i)) for i in range(n)]


@of_package("altair", "5 charts", 5)
def charts(n):
    import altair

    return [altair.Chart(f"data{i}.csv").mark_bar().encode(x="a:Q", y="b:N") for i in range(n)]
