"""Measure fastser against pickle protocol 5 (and others), print the table, write the results and the chart."""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatch
from pathlib import Path

# Behind the installed packages, so that an installed fastser is measured and not an unbuilt source tree around it.
sys.path.append(sys.path.pop(0))

from . import chart, report, runner
from .data import ROWS
from .peers import PEERS

RESULTS = Path(__file__).resolve().parent / "results"


def arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--row", action="append", metavar="PATTERN",
                        help="only rows with such a name or group (repeatable); those of the group packages are left out unless asked for")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the rows and leave")
    parser.add_argument("--seconds", type=float, default=110, help="time shared among the rows (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a fifth of that time")
    parser.add_argument("--rounds", type=int, help="exactly so many rounds a row, however long they take")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), metavar="PEER",
                        help=f"measure others too, all that are installed or some of: {', '.join(PEERS)}")  # fmt: skip
    parser.add_argument("--track-refs", choices=["on", "off"], default="on")
    parser.add_argument("--name", default="latest", help="of the files under benchmarks/results (default: %(default)s)")
    parser.add_argument("--page", type=Path, action="append", default=[], metavar="FILE",
                        help="rewrite the tables between the markers of this file (repeatable)")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    options = arguments(argv)
    if options.row:
        chosen = [row for row in ROWS if any(fnmatch(row.name, pattern) or row.group == pattern for pattern in options.row)]
    else:
        chosen = [row for row in ROWS if row.group != "packages"]
    if options.list:
        print("\n".join(f"{row.name:20} {row.group:9} {row.title}" for row in chosen))
        return
    missing = sorted({row.package for row in chosen if row.missing})
    if missing:
        print(f"left out, because not installed: {', '.join(missing)}", file=sys.stderr)
    chosen = [row for row in chosen if not row.missing]
    if not chosen:
        raise SystemExit("no such rows; --list shows them")

    track_refs = options.track_refs == "on"
    seconds = options.seconds / 5 if options.quick else options.seconds
    measured = runner.run(chosen, seconds, track_refs, options.peers, options.rounds, report.Progress())
    packages = ["numpy", "fastser", *sorted({row.package for row in chosen if row.package}), *PEERS]
    data = report.results(measured, packages, track_refs)
    print(report.table(data))
    if options.peers is not None:
        print("\n" + report.peer_table(data))
    path = RESULTS / f"{options.name}.json"
    report.save(data, path)
    written = [str(path)]
    try:
        chart.draw(data, path.with_suffix(".png"))
        written.append(str(path.with_suffix(".png")))
    except ModuleNotFoundError as error:
        print(f"no chart: {error}", file=sys.stderr)
    for page in options.page:
        report.write_page(data, page)
        written.append(str(page))
    print("\nwritten: " + ", ".join(written))
    if len(measured) < len(chosen):
        raise SystemExit("some rows could not be measured")


if __name__ == "__main__":
    main()
