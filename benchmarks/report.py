"""What was measured, told: a table, a JSON file, and the tables in the documentation."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
END = "<!-- benchmark:end -->"
MARKED = re.compile(r"(<!-- benchmark:begin([\w ]*) -->)\n.*?" + re.escape(END), re.DOTALL)


def machine() -> dict:
    """Processor, cores and memory."""
    name = platform.processor()
    if CPUINFO.exists():
        names = [line.split(":", 1)[1].strip() for line in CPUINFO.read_text().splitlines() if line.startswith("model name")]
        name = names[0] if names else name
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {"processor": name or platform.machine(), "cores": os.cpu_count(), "memory_gib": memory}


def versions(packages) -> dict:
    """Of Python and of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def results(measured: list[dict], packages, track_refs: bool) -> dict:
    """Everything about one run, JSON as it stands."""
    pages = HUGE_PAGES.read_text().split("[")[1].split("]")[0] if HUGE_PAGES.exists() else None
    return {
        "machine": machine(),
        "versions": versions(packages),
        "settings": {"track_refs": track_refs, "transparent_huge_pages": pages},
        "rows": measured,
    }


def save(data: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")


def ratio(row: dict, operation: str, collector: str = "off", figure: str = "min", name: str = "fastser") -> float:
    """How many times as fast as the row's control; 0 where the contestant cannot carry the row."""
    theirs = row["contestants"].get(name, {}).get(operation)
    return row["contestants"][row["control"]][operation][collector][figure] / theirs[collector][figure] if theirs else 0.0


def remarks(row: dict) -> list[str]:
    """What is wrong with fastser on this row."""
    ours = row["contestants"]["fastser"]
    if ours["error"]:
        return [ours["error"]]
    found = [] if ours["faithful"] else ["WRONG RESULT"]
    for operation in ("dumps", "loads"):
        reached = ratio(row, operation)
        if reached < 1:
            found.append(f"{operation} SLOWER")
        elif reached < row["floor"][operation]:
            found.append(f"{operation} below floor")
    within = row["floor"]["loads_within_us"]
    if within and ours["loads"]["off"]["min"] > within:
        found.append(f"loads over {within} µs")
    if ours["bytes"] > row["size_limit"]:
        found.append(f"{ours['bytes'] - row['size_limit']} bytes TOO LARGE")
    if ours["text_kept"]:
        found.append(f"leaves {ours['text_kept']} bytes on strings")
    return found


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(row: dict, name: str, operation: str) -> str:
    measured = row["contestants"].get(name, {}).get(operation)
    return number(measured["off"]["min"]) if measured else "-"


def align(lines: list[list[str]]) -> str:
    """Columns: the first and the last to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )


def table(data: dict) -> str:
    """For the terminal. Ratios are of minimums, to pickle protocol 5; med: of medians, on: with the collector on."""
    lines = [["data", "dumps", "floor", "med", "on", "loads", "floor", "med", "on",
              "bytes", "pickle µs", "", "fastser µs", "", "remarks"]]  # fmt: skip
    for row in data["rows"]:
        ours, controlled = row["contestants"]["fastser"], row["contestants"][row["control"]]["bytes"]
        line = [row["title"]]
        for operation in ("dumps", "loads"):
            line += [number(ratio(row, operation)) + "x", f"{row['floor'][operation]:g}x"]
            line += [number(ratio(row, operation, figure="median")), number(ratio(row, operation, "on"))]
        line += [f"{ours.get('bytes', 0) / controlled:.2f}"]
        line += [times(row, name, operation) for name in (row["control"], "fastser") for operation in ("dumps", "loads")]
        lines.append([*line, ", ".join(remarks(row))])
    slower = sum(ratio(row, operation) < 1 for row in data["rows"] for operation in ("dumps", "loads"))
    marked = sum(bool(remarks(row)) for row in data["rows"])
    return align(lines) + f"\n\n{len(lines) - 1} rows, {marked} with remarks; {slower} times slower than pickle."


def peer_table(data: dict) -> str:
    """Microseconds of every contestant, dumps / loads; a star where the value does not come back as it was."""
    names = list(dict.fromkeys(name for row in data["rows"] for name in row["contestants"]))
    lines = [["data", *names, ""]]
    for row in data["rows"]:
        cells = []
        for name in names:
            found = row["contestants"].get(name, {})
            star = "" if found.get("faithful") else "*"
            cells.append(f"{times(row, name, 'dumps')} / {times(row, name, 'loads')}{star}" if "dumps" in found else "-")
        lines.append([row["title"], *cells, ""])
    return align(lines)


def markdown(data: dict, names: Sequence[str] = ()) -> str:
    """The table of a page: of the rows of these names, in their order, or of all."""
    rows = {row["name"]: row for row in data["rows"]}
    missing = [name for name in names if name not in rows]
    if missing:
        raise SystemExit(f"expected every row of the page among those measured, not found: {', '.join(missing)}")
    host, found = data["machine"], data["versions"]
    cores = f"{host['cores']} cores" + (f", {host['memory_gib']} GiB" if host["memory_gib"] else "")
    pages = data["settings"]["transparent_huge_pages"]
    cores += f", transparent huge pages on {pages}" if pages else ""
    lines = [
        f"{host['processor']}, {cores}; Python {found['python']}, NumPy {found['numpy']}, "
        f"fastser {found.get('fastser', 'from the source tree')}.",
        "Minimum of interleaved rounds, collector off; in brackets, the ratio with the collector on. "
        "Ratios are to pickle protocol 5; where fastser is slower, the ratio is **bold**.",
        "",
        "| data | dumps, µs (pickle → fastser) | | loads, µs (pickle → fastser) | | bytes (pickle → fastser) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in [rows[name] for name in names] or data["rows"]:
        cells = [row["title"].replace("|", "\\|")]
        for operation in ("dumps", "loads"):
            reached = ratio(row, operation)
            shown = f"{number(reached)}x" if reached >= 1 else f"**{number(reached)}x**"
            cells.append(f"{times(row, row['control'], operation)} → {times(row, 'fastser', operation)}")
            cells.append(f"{shown} ({number(ratio(row, operation, 'on'))}x)")
        contestants = row["contestants"]
        cells.append(f"{contestants[row['control']]['bytes']:,} → {contestants['fastser'].get('bytes', 0):,}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(data: dict, path: Path) -> None:
    """Put a table between every pair of markers of a page, in place of what is there.

    ``<!-- benchmark:begin -->`` stands before a table of all rows, ``<!-- benchmark:begin one two_keys -->`` before one of those
    named.
    """
    text = path.read_text(encoding="utf-8")
    written, count = MARKED.subn(lambda found: f"{found[1]}\n{markdown(data, found[2].split())}\n{END}", text)
    if not count:
        raise SystemExit(f"{path} has no <!-- benchmark:begin --> … {END}")
    path.write_text(written, encoding="utf-8")


class Progress:
    """One line on standard error: rewritten in place on a terminal, a line a row elsewhere."""

    def __init__(self):
        self.stream = sys.stderr
        self.end, self.start = ("", "\r\x1b[K") if self.stream.isatty() else ("\n", "")

    def __call__(self, done: int, total: int, row, left: float) -> None:
        line = f"[{done + 1}/{total}] {row.title}  ({left:.0f} s left)" if row else ""
        if line or self.start:
            print(self.start + line, end=self.end, file=self.stream, flush=True)
