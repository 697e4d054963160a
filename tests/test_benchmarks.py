"""The benchmark itself: its data, its idea of sameness, its report. No test looks at a time."""

import collections
import datetime
import decimal
import fractions
import json
import math
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

# Behind the installed packages: only the benchmark is wanted from the tree.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import chart, report, runner
from benchmarks.data import ROWS, classes, objects
from benchmarks.peers import CONTROLS, PEERS, PICKLE, contestants, dumps_out_of_band, loads_out_of_band
from benchmarks.walk import same, size_limit, text_memory, walk

FASTSER = contestants()[0]


def present(row):
    return pytest.param(row, id=row.name, marks=pytest.mark.skipif(row.missing, reason=f"needs {row.package}"))


each_row = pytest.mark.parametrize("row", list(map(present, ROWS)))


def smaller(row) -> int:
    if row.group == "packages":
        return row.n
    return max(row.n // 100, min(row.n, 20))


def row_named(name):
    return next(row for row in ROWS if row.name == name)


def test_row_names_are_distinct():
    assert len({row.name for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)
    assert {row.group for row in ROWS} == set(chart.GROUPS)


def test_enough_real_data_sets():
    assert len([row for row in ROWS if row.group == "real" and row.package]) >= 5


@each_row
def test_data_is_the_same_every_time(row):
    first, second = row.make(smaller(row)), row.make(smaller(row))
    assert row.same(first, second)
    assert type(first) is int or first is not second


@each_row
def test_fastser_is_faithful_within_the_size_limit(row):
    value = row.make(smaller(row))
    elsewhere = list(walk(value)) if row.held else None
    text = text_memory(value)
    frame = FASTSER.pack(value)
    assert text_memory(value) == text
    assert row.same(value, FASTSER.unpack(frame))
    assert len(frame) <= size_limit(value, len(CONTROLS[row.control].pack(value)))
    del elsewhere


@each_row
def test_the_control_is_faithful(row):
    value, control = row.make(smaller(row)), CONTROLS[row.control]
    assert row.same(value, control.unpack(control.pack(value)))


def test_a_control_other_than_pickle_is_for_what_pickle_refuses():
    for row in ROWS:
        if row.control != "pickle":
            assert row.control in row.title
            with pytest.raises((AttributeError, pickle.PicklingError)):
                PICKLE.pack(row.make(smaller(row)))


def alike():
    shared, instance = [1], classes.Point(1, 2)
    return [
        1, -0.0, float("nan"), "ä", b"x", None, (), frozenset(), [(), ()], {"a": [1, 2.5, (True, None)]}, {1, "a", 2.0},
        [shared, shared], datetime.datetime(2020, 1, 1, fold=1), decimal.Decimal("1.10"), np.float32(1.5),
        np.arange(6.0).reshape(2, 3), np.asfortranarray(np.ones((2, 3))), np.array([[1, None], ["a", [2]]], object),
        np.array([(1, 2.0)], [("a", "i1"), ("b", "f8")]), np.array(5), np.zeros((0, 3)), complex(0.0, -0.0),
        classes.Point(1, 2), classes.Particle(0.5, 1.5, 2, "a"), classes.Trade(1, 2.5, "a"), classes.Status.NEW,
        fractions.Fraction(1, 3), family(), OSError(2, "a"), math.sin, classes.Point, math, objects.closure(1),
        collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]), collections.Counter("ab"),
        collections.deque([1, 2], 3), [instance, instance, vars(instance)], pickle.PickleBuffer(b"x"),
    ]  # fmt: skip


def family():
    """A parent and a child that know each other."""
    return classes.Node("child", classes.Node("parent", None))


@pytest.mark.parametrize("i", range(len(alike())))
def test_same(i):
    assert same(alike()[i], alike()[i])


def noted(error, **attributes):
    error.__dict__.update(attributes)
    return error


def unlike():
    one, two, three = [1], [1], {}
    point, other = classes.Point(1, 2), classes.Point(1, 2)
    self_nan = np.array([np.nan])
    other_nan = (self_nan.view(np.int64) | 1).view(np.float64)
    return [
        (1, True), (1, 1.0), (0.0, -0.0), (float("nan"), 1.0), ("a", b"a"), ([1], (1,)), ([1, 2], [1]), ([1], [True]),
        ([1, [2]], [1, [2.0]]), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({"a": 1}, {"a": True}), ({1}, {True}),
        ({1}, frozenset({1})), ([one, one], [one, two]), ([one, two], [one, one]), ([three, {}], [three, three]),
        (datetime.datetime(2020, 1, 1, fold=1), datetime.datetime(2020, 1, 1)),
        (decimal.Decimal("1.10"), decimal.Decimal("1.1")), (np.float32(1.5), np.float64(1.5)), (np.float64(1.5), 1.5),
        (np.ones(3), np.ones(3, np.float32)), (np.ones(3), np.ones((3, 1))), (np.ones(3), [1.0, 1.0, 1.0]),
        (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3)))), (np.array([0.0]), np.array([-0.0])),
        (np.ones(3), np.ones(3, ">f8")), (self_nan, other_nan),
        (np.array([1, None], object), np.array([1.0, None], object)),
        (np.array([(1, 2.0)], [("a", "i1"), ("b", "f8")]), np.array([(1, 3.0)], [("a", "i1"), ("b", "f8")])),
        (complex(0.0, 0.0), complex(0.0, -0.0)), (bytearray(b"x"), b"x"),
        (point, classes.Point(1, 3)), (point, classes.Point(1, True)), ([point, point], [point, other]),
        ([point, vars(point)], [other, dict(vars(other))]), (point, classes.Trade(1, 2, "a")),
        (classes.Particle(0.5, 1.5, 2, "a"), classes.Particle(0.5, 1.5, 2, "b")), (classes.Trade(1, 2.5, "a"), (1, 2.5, "a")),
        (classes.Status.NEW, classes.Status.PAID), (fractions.Fraction(1, 3), fractions.Fraction(1, 4)),
        (family(), family().parent), (OSError(2, "a"), OSError(2, "b")), (noted(ValueError(1), x=1), noted(ValueError(1), x=2)),
        (math.sin, math.cos), (classes.Point, classes.Order), (math, json), (objects.closure(1), objects.closure),
        (objects.closure(1), with_cells(objects.closure(1), [1])), (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
        (collections.defaultdict(list), collections.defaultdict(dict)), (collections.Counter("ab"), collections.Counter("aab")),
        (collections.deque([1], 3), collections.deque([1], 4)), (collections.deque([1]), collections.deque([1.0])),
    ]  # fmt: skip


def with_cells(function, contents):
    """A function with other contents in its first cells."""
    for cell, content in zip(function.__closure__, contents):
        cell.cell_contents = content
    return function


@pytest.mark.parametrize("i", range(len(unlike())))
def test_not_the_same(i):
    a, b = unlike()[i]
    assert not same(a, b)
    assert not same(b, a)


def test_size_limit_counts_what_pickle_writes_once():
    text = "".join(["a", "b"])
    value = [text, text, {"k": 1 << 31, "k2": (1 << 31) - 1}, -(1 << 31), -(1 << 31) - 1, (1 << 40, True), np.array([text, 1 << 50], object)]
    assert size_limit(value, 1000) == 1050 + 64 + 3 + 4


def test_size_limit_sees_through_objects():
    text = "".join(["a", "b"])
    value = [classes.Trade(1 << 40, 0.5, text), classes.Particle(0.5, 0.5, 1, text), collections.deque([1 << 40])]
    slots, named = len(classes.Particle.__slots__), 2 * len("benchmarks.data.classes ")
    assert size_limit(value, 1000) == 1050 + 64 + 1 + 1 + slots + 1 + named
    assert size_limit([math.sin], 1000) == 1050 + 64 + len("math ")


def test_text_memory_notices_what_pickle_leaves_on_strings():
    text = ["".join(["п", "р"])]
    before = text_memory(text)
    pickle.dumps(text, 5)
    assert text_memory(text) == before + len(text[0].encode()) + 1


def test_held_rows_hold_every_object():
    value = row_named("held_records").make(3)
    held = {id(item) for item in walk(value)}
    assert id(value) in held
    assert all(id(item) in held for record in value for pair in record.items() for item in pair)


def test_held_rows_hold_what_instances_hold():
    value = row_named("held_plain_instances").make(3)
    held = {id(item) for item in walk(value)}
    assert all(id(item) in held for instance in value for item in [instance, vars(instance), *vars(instance).values()])


def test_measured_rows_become_a_report(tmp_path):
    rows = [row_named(name) for name in ("one", "records", "held_lists", "cyrillic_strings", "closure", "array_1mb")]
    measured = [
        runner.measure(row, contestants(names=["marshal"], control=row.control), 0, rounds=2, n=smaller(row)) for row in rows
    ]
    data = report.results(measured, ["numpy", "not-a-package"], True)

    report.save(data, tmp_path / "results" / "run.json")
    assert json.loads((tmp_path / "results" / "run.json").read_text()) == data
    assert set(data) == {"machine", "versions", "settings", "rows"}
    assert set(data["machine"]) == {"processor", "cores", "memory_gib"}
    assert set(data["versions"]) == {"python", "numpy"}
    for row, entry in zip(rows, data["rows"]):
        assert (entry["name"], entry["title"], entry["held"], entry["renewed"]) == (row.name, row.title, row.held, row.renew)
        assert entry["floor"] == {"dumps": row.floor[0], "loads": row.floor[1], "loads_within_us": row.loads_within}
        assert entry["control"] == row.control
        assert set(entry["contestants"]) == {"fastser", row.control, "marshal"}
        for name in ("fastser", row.control):
            result = entry["contestants"][name]
            assert result["faithful"] is True and result["error"] is None
            for operation in ("dumps", "loads"):
                for collector, samples in (("off", 2), ("on", 1)):
                    figures = result[operation][collector]
                    assert 0 < figures["min"] <= figures["median"]
                    assert figures["samples"] == samples
        assert entry["contestants"][row.control]["bytes"] == len(CONTROLS[row.control].pack(row.make(smaller(row))))
    assert data["rows"][-1]["contestants"]["marshal"]["faithful"] is False

    shown = report.table(data)
    assert all(row.title in shown for row in rows)
    assert "*" in report.peer_table(data)

    page = tmp_path / "page.md"
    whole, last = "<!-- benchmark:begin -->", f"<!-- benchmark:begin {rows[-1].name} -->"
    page.write_text(f"before\n{whole}\nwhat was there\n{report.END}\nbetween\n{last}\n{report.END}\nafter\n", encoding="utf-8")
    report.write_page(data, page)
    report.write_page(data, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{whole}\n") and text.endswith(f"{report.END}\nafter\n")
    assert "what was there" not in text and text.count("six-field") == 0
    first, second = text.split("\nbetween\n")
    assert all(first.count(f"| {row.title} |") == 1 for row in rows)
    assert [second.count(f"| {row.title} |") for row in rows] == [0] * (len(rows) - 1) + [1]


def entry(dumps, loads, **ours):
    """A row of the results where pickle takes 10 µs."""
    def timed(value):
        return {c: {"min": value, "median": value, "samples": 1} for c in ("off", "on")}

    pickled = {"error": None, "faithful": True, "bytes": 10, "text_kept": 0, "dumps": timed(10.0), "loads": timed(10.0)}
    return {
        "name": "x", "title": "x", "group": "plain", "n": 1, "held": False, "renewed": False, "control": "pickle",
        "size_limit": 74,
        "floor": {"dumps": 2.0, "loads": 1.0, "loads_within_us": None},
        "contestants": {"fastser": {**pickled, "dumps": timed(dumps), "loads": timed(loads), **ours}, "pickle": pickled},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (entry(5.0, 10.0), []),
        (entry(5.1, 10.1), ["dumps below floor", "loads SLOWER"]),
        (entry(1.0, 1.0, bytes=74), []),
        (entry(1.0, 1.0, bytes=80), ["6 bytes TOO LARGE"]),
        (entry(1.0, 1.0, faithful=False), ["WRONG RESULT"]),
        (entry(1.0, 1.0, text_kept=3), ["leaves 3 bytes on strings"]),
        (entry(1.0, 1.0, error="TypeError: no"), ["TypeError: no"]),
    ],
)
def test_remarks(row, expected):
    assert report.remarks(row) == expected


def test_pages_show_losing_rows_in_bold():
    data = {**report.results([entry(20.0, 1.0)], ["numpy"], True)}
    assert "| x | 10.0 → 20.0 | **0.50x** (0.50x) | 10.0 → 1.00 | 10.0x (10.0x) | 10 → 10 |" in report.markdown(data)


@pytest.mark.parametrize(
    ("text", "message"), [("nothing\n", "benchmark:begin"), ("<!-- benchmark:begin y -->\n<!-- benchmark:end -->\n", "not found: y")]
)
def test_a_page_that_cannot_be_written_is_left_alone(tmp_path, text, message):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(SystemExit, match=message):
        report.write_page(report.results([entry(1.0, 1.0)], ["numpy"], True), page)
    assert page.read_text() == text



def test_chart_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    data = report.results([entry(20.0, 0.01), {**entry(1.0, 1.0), "group": "real"}], ["numpy"], True)
    chart.draw(data, tmp_path / "new" / "run.png")
    assert (tmp_path / "new" / "run.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_rows_are_measured_in_processes_of_their_own():
    told = []
    measured = runner.run([row_named("two_keys")], 0, rounds=1, progress=lambda *state: told.append(state[:2]))
    assert [row["name"] for row in measured] == ["two_keys"]
    assert told == [(0, 1), (1, 1)]


def test_peers_carry_what_they_can():
    value = {"a": [1, 2.5, None, "x"], "b": {"c": True}}
    found = contestants(names=[])
    assert [c.name for c in found[:2]] == ["fastser", "pickle"]
    assert {c.name for c in found[2:]} <= set(PEERS)
    for contestant in found:
        if contestant.name not in ("arrow-tensor", "arrow-ipc", "polars-ipc"):
            assert same(value, contestant.unpack(contestant.pack(value))), contestant.name


@pytest.mark.parametrize("peer, name", [("arrow-ipc", "arrow_table"), ("polars-ipc", "polars_frame")])
def test_peers_of_tables(peer, name):
    if row_named(name).missing:
        pytest.skip(f"needs {row_named(name).package}")
    value = row_named(name).make(20)
    _, _, contestant = contestants(names=[peer])
    assert same(value, contestant.unpack(contestant.pack(value)))
    assert not same(value, value[:19])
    assert not same(value, value.select([*value.schema.names()[1:], value.schema.names()[0]] if name == "polars_frame" else value.column_names[1:]))


def test_out_of_band_pickle_in_one_blob():
    value = [np.arange(10.0), {"a": np.ones((3, 4), order="F")}, "text"]
    blob = dumps_out_of_band(value)
    assert type(blob) is bytes
    assert same(value, loads_out_of_band(blob))
