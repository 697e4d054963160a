"""python -m fastser store: the stores of this user, from the command line."""

import argparse
from contextlib import suppress

from fastser import errors
from fastser._core.store.shared import lock, unlock
from fastser.store.account import Account
from fastser.store.directory import Directory, stores
from fastser.store.reference import check_store_name
from fastser.store.stats import StoreStats, collect


def add_to(command: argparse.ArgumentParser) -> None:
    """Give the command its subcommands; each sets ``run``, which returns the exit code."""
    actions = command.add_subparsers(title="actions", metavar="action", required=True)
    action = actions.add_parser("ls", help="list the stores of this user")
    action.set_defaults(run=_list, command=action)
    action = actions.add_parser("stats", help="tell what is in a store, and who views it")
    action.add_argument("name", type=_name)
    action.set_defaults(run=_stats, command=action)
    action = actions.add_parser("rm", help="remove a store that killed processes left behind")
    action.add_argument("name", type=_name)
    action.add_argument("--force", action="store_true", help="also one that is in use; what is viewed stays valid for who views it")
    action.set_defaults(run=_remove, command=action)


def _name(text: str) -> str:
    try:
        return check_store_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _list(options: argparse.Namespace) -> int:
    print(f"{'STORE':32} {'OBJECTS':>8} {'USED':>10} {'CAPACITY':>10}  OWNER")
    for name in stores():
        try:
            stats = _look(name)
        except errors.StoreError as error:
            print(f"{name:32} {error}")
        else:
            print(f"{name:32} {len(stats.objects):8} {_size(stats.used):>10} {_size(stats.capacity):>10}  {_state(stats)}")
    return 0


def _stats(options: argparse.Namespace) -> int:
    stats = _look(options.name)
    print(f"{stats.name}: {_size(stats.used)} of {_size(stats.capacity)} in use, {_size(stats.free)} of them free segments; {_state(stats)}")
    print(f"{'OBJECT':36} {'SIZE':>10} {'AGE':>8}  VIEWED BY")
    for found in stats.objects:
        where = "  (spilled)" if found.spilled else ""
        print(f"{found.ref.name:36} {_size(found.nbytes):>10} {found.age:7.0f}s  {', '.join(map(str, found.viewers)) or '-'}{where}")
    for name in stats.being_put:
        print(f"{name:36} being put")
    for pid, nbytes in stats.pinned.items():
        print(f"process {pid} pins {_size(nbytes)}")
    return 0


def _remove(options: argparse.Namespace) -> int:
    try:
        directory = Directory(options.name)
    except FileNotFoundError:
        raise errors.store_not_found(options.name) from None
    if not lock(directory.fd, exclusive=True, wait=False) and not options.force:
        raise errors.store_in_use(options.name, directory.owner_lives())
    with suppress(FileNotFoundError, errors.StoreClosedError), Account(directory, 0) as account:  # half made, or half closed
        account.close()
    directory.remove()
    return 0


def _look(name: str) -> StoreStats:
    directory = Directory.attach(name)
    unlock(directory.fd)  # who only looks is not attached
    return collect(directory, Account(directory, directory.info["capacity"]))


def _state(stats: StoreStats) -> str:
    return f"process {stats.owner}{'' if stats.owner_lives else ', dead'}"


def _size(nbytes: int) -> str:
    size = float(nbytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
