"""The documentation is true: its examples run, its links lead somewhere, its tone is plain."""

import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastser

pytestmark = pytest.mark.core

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
ENGINES = {"pyarrow", "polars", "duckdb", "pandas", "torch"}
OPTIONS = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(source, name, line, namespace):
    """Run the examples of a text; what they define stays in the namespace."""
    test = doctest.DocTestParser().get_doctest(source, namespace, name, name, line)
    report = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    runner.run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)
    assert runner.failures == 0, "".join(report)
    return len(test.examples)


# --- pages -------------------------------------------------------------------------------------------------------------


def blocks(page):
    """(line, text, engines that it imports) of each python block."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        engines = ENGINES & set(re.findall(r"^>>> import (\w+)", match[1], re.MULTILINE))
        yield text.count("\n", 0, match.start()) + 1, match[1], engines


BLOCKS = [(page, *block) for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("page, line, text, engines", BLOCKS, ids=[f"{p.name}:{n}" for p, n, *_ in BLOCKS])
def test_examples_of_pages(page, line, text, engines, tmp_path, monkeypatch):
    for engine in engines:
        pytest.importorskip(engine)
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for other, earlier, source, needed in BLOCKS:
        if other == page and earlier < line and not needed:
            run(source, page.name, earlier, namespace)
    assert run(text, page.name, line, namespace), "a block for python without an example"


def test_every_example_of_a_page_is_in_a_block_that_runs():
    for page in PAGES:
        rest = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert ">>>" not in rest, page.name


def anchors(page):
    """As GitHub makes them of headings."""
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        if anchor:
            assert anchor in set(anchors(linked)), target


# What a page that describes the project as it is has no use for.
UNWANTED = {
    "open ends": r"\b(?:TODO|FIXME|TBD|XXX|WIP)\b",
    "numbers of tickets": r"(?i)\b(?:issue|ticket|PR) ?#?\d|(?<![&\w])#\d+\b",
    "paths of somebody's machine": r"(?<![\w.:~/\])>-])/(?!dev/|proc/|sys/)[a-z]+/[\w.]+",
    "boasting": r"(?i)\b(?:blazing(?:ly)?|lightning|seamless(?:ly)?|effortless(?:ly)?|cutting[- ]edge|world[- ]class|revolutionary"
    r"|game[- ]chang\w+|next[- ]gen\w*|state[- ]of[- ]the[- ]art|simply|unparalleled|powerful)\b",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("what", UNWANTED)
def test_pages_are_plain(page, what):
    assert re.findall(UNWANTED[what], page.read_text(encoding="utf-8")) == []


def test_readme_says_first_whom_loads_trusts():
    head = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert "trusts its input" in head
    assert "safe=True" in head


def test_contributing_lists_what_is_there():
    listed = subprocess.run([sys.executable, ROOT / "ci" / "tree"], capture_output=True, text=True, check=True).stdout
    assert listed.strip() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "run ci/tree --write"


def test_readme_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


# --- what the pages say of the sources ---------------------------------------------------------------------------------

TAGS = (ROOT / "fastser" / "_core" / "format" / "tags.pxd").read_text(encoding="utf-8")


def constants(prefix):
    """{name without the prefix: value} of the numbers in tags.pxd."""
    found = re.findall(rf"^    {prefix}(\w+) = (\d+)", TAGS, re.MULTILINE)
    return {name: int(value) for name, value in found}


def listed(text, heading):
    """{name: value} of the table rows that begin with numbers and names, under one heading of format.md."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r"^\| ([\d, ]+)(?: \+ v)? \| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
    found = {}
    for values, names in rows:
        found.update(zip(re.findall(r"\w+", names), map(int, values.split(",")), strict=True))
    return found


def test_the_format_page_lists_the_constants_of_the_sources():
    text = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    columns = {name.upper(): value for name, value in listed(text, "Columns").items()}
    assert columns == {name: value for name, value in constants("COLUMN_").items() if name != "COUNT"}
    assert listed(text, "The frame") == {f"FLAG_{n}": v for n, v in constants("FLAG_").items()}
    bodies = constants("BODY_")
    tags = listed(text, "The grammar")
    parts = constants("PART_")
    assert {name: tags.pop(name) for name in list(tags) if name.startswith("PART_")} == {f"PART_{n}": v for n, v in parts.items()}
    assert {name: tags.pop(name) for name in bodies if name in tags} | {"ALIGNMENT": bodies["ALIGNMENT"]} == bodies
    assert tags == constants("TAG_")
    assert f"# The format, version {constants('FORMAT_')['VERSION']}\n" in text


def test_the_design_page_names_what_the_sources_define():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    files = [path for path in (ROOT / "fastser").rglob("*.p*") if path.suffix in (".py", ".pyx", ".pxd")]
    words = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in files)))
    words |= {path.name for path in files} | set(constants("TAG_")) | set(constants("BODY_"))
    named = set(re.findall(r"`(\w+(?:\.\w+)?)`", text))
    assert {name for name in named if name not in words and not set(name.split(".")) <= words} == set()


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_the_size_of_a_small_frame_is_as_told(page):
    assert f"is {len(fastser.dumps(1))} bytes" in (ROOT / page).read_text(encoding="utf-8")


# --- docstrings --------------------------------------------------------------------------------------------------------

MODULES = ["fastser.api", "fastser.errors", "fastser.fallback", "fastser.locate", "fastser._core.frame.packed", "fastser._core.store.shared", "fastser.store.stats"]


def documented():
    """Public functions, classes and their public methods, by their full names."""
    for name in ["fastser", *MODULES]:
        module = importlib.import_module(name)
        members = vars(module) if name != "fastser" else {key: getattr(fastser, key) for key in fastser.__all__}
        for key, value in members.items():
            if key.startswith("_") or not callable(value) or (name != "fastser" and value.__module__ != name):
                continue
            yield f"{name}.{key}", value
            if inspect.isclass(value):
                for method, function in vars(value).items():
                    if callable(function) and (not method.startswith("_") or method.startswith("__arrow")):
                        yield f"{name}.{key}.{method}", function


DOCUMENTED = dict(documented())
WITH_EXAMPLES = [name for name, value in DOCUMENTED.items() if ">>>" in (value.__doc__ or "")]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(inspect.cleandoc(DOCUMENTED[name].__doc__), name, 0, {})


@pytest.mark.parametrize("name", fastser.__all__)
def test_public_names_have_docstrings_and_examples(name):
    value = getattr(fastser, name)
    assert value.__doc__
    if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
        assert f"fastser.{name}" in WITH_EXAMPLES
