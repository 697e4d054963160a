"""python -m fastser: what packing an object of a module does, and what is in object stores, from the command line."""

import argparse
import io
import re
import sys
from importlib import import_module

import fastser
from fastser.store.command import add_to

_TARGET = re.compile(r"(?P<module>\w+(?:\.\w+)*):(?P<attribute>\w+(?:\.\w+)*)(?P<call>\(\))?")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0, or 1 where a part of what is explained cannot be packed."""
    parser = argparse.ArgumentParser(prog="python -m fastser", description=fastser.__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"fastser {fastser.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="command", required=True)
    command = commands.add_parser(
        "explain",
        help="tell which plan each part of an object takes, its bytes, and what would fail",
        description="Tell which plan each part of an object takes, its bytes, and what would fail. The exit code is 1 if anything would.",
    )
    command.add_argument("target", metavar="module:object", help="dots lead to attributes; with () behind it, it is called")
    command.add_argument("--no-track-refs", dest="track_refs", action="store_false", help="as dumps(track_refs=False)")
    command.add_argument("--max-depth", type=int, default=1000, metavar="N", help="as dumps(max_depth=N)")
    command.add_argument("--fallback", choices=["cloudpickle", "pickle", "none"], default="cloudpickle", help="as dumps(fallback=...)")
    command.set_defaults(run=_explain, command=command)
    about = "list, describe and remove object stores"
    add_to(commands.add_parser("store", help=about, description=f"{about.capitalize()}."))
    options = parser.parse_args(arguments)
    try:
        code: int = options.run(options)
    except (_NotFound, OverflowError, fastser.StoreError) as error:
        options.command.exit(2, f"{options.command.prog}: error: {error}\n")
    return code


def _explain(options: argparse.Namespace) -> int:
    obj = _find(options.target)
    fallback = None if options.fallback == "none" else options.fallback
    explanation = fastser.explain(obj, track_refs=options.track_refs, max_depth=options.max_depth, fallback=fallback)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # paths hold any text
    print(explanation)
    return 1 if explanation.failures else 0


class _NotFound(Exception):
    pass


def _find(target: str) -> object:
    match = _TARGET.fullmatch(target)
    if match is None:
        raise _NotFound(f"expected module:object or module:factory(), found {target!r}")
    try:
        found = import_module(match["module"])
    except Exception as error:
        raise _NotFound(f"cannot import {match['module']}: {_line(error)}") from error
    for name in match["attribute"].split("."):
        try:
            found = getattr(found, name)
        except Exception as error:
            raise _NotFound(f"cannot find {match['attribute']} in {match['module']}: {_line(error)}") from error
    if not match["call"]:
        return found
    try:
        return found()  # type: ignore[operator]
    except Exception as error:
        raise _NotFound(f"{target} raised {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    sys.exit(main())
