"""The command line of `aiotest -f FILE`, its values checked, with the file's own options in it.

Pure but for the handlers of `init_command_line_parser`. Start at [`parse`][] and, for a manifest's `args`,
[`parse_own`][].
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from aiotest import events
from aiotest.log import LEVELS

__all__ = [
    "UsageError",
    "data_sets_of",
    "file_of",
    "own_words",
    "parse",
    "parse_check",
    "parse_own",
    "parser",
    "run_time",
]

BUCKETS = [50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 2000, 5000, 8000]
"""Upper bounds of `aiotest_response_times`, in ms."""

_ABOUT = """\
Two ways to run a load test, and two ways to get there:

  aiotest run PATH [--report-json FILE]
        a LoadTest manifest, or a folder with one and its aiotestfile.py or ConfigMap
        (`aiotest run --help` says more)
  aiotest [-f FILE] [options]
        a Python file of users, in this one process, with the options below
  aiotest init [FOLDER]
        a first file of users and a manifest for it
  aiotest check FILE [options]
        each job once with one user of each class, every call shown (`aiotest check --help` says more)
"""


class UsageError(Exception):
    """The command line cannot be used; says which option and what it takes."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser(version: str, with_help: bool = True) -> argparse.ArgumentParser:
    """The parser of the old command line, without the file's own options."""
    made = _Parser(
        prog="aiotest",
        usage="aiotest run PATH … | aiotest [options] | aiotest init [FOLDER] | aiotest check FILE [options]",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=with_help,
        allow_abbrev=False,
    )
    add = made.add_argument
    add(
        "-f",
        "--aiotestfile",
        default="aiotestfile",
        metavar="FILE",
        help="the users' file, with or without `.py`",
    )
    add("-H", "--host", default="", help="where requests go; wins over the `host` of every class")
    _add_data_sets(made)
    _add_load(made)
    _add_cluster(made)
    add("--prometheus-port", type=_port, default=8089, metavar="PORT", help="where /metrics is served (8089)")
    add(
        "-b",
        "--buckets",
        type=_bucket,
        nargs="+",
        default=BUCKETS,
        metavar="MS",
        help="bounds of response times",
    )
    add("-L", "--loglevel", type=str.upper, choices=LEVELS, default="INFO", help="INFO if not given")
    add("--logfile", metavar="FILE", help="log lines go there instead of stderr")
    add(
        "--show-users-wight",
        "--show-users-weight",
        dest="show_users_wight",
        action="store_true",
        help="print the weights of the user classes as JSON, and end",
    )
    add("-V", "--version", action="version", version=f"aiotest {version}")
    return made


def _add_data_sets(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--data-set",
        action="append",
        type=_data_set,
        default=[],
        metavar="NAME=FILE[:POLICY][:stop]",
        help="rows for `aiotest.data(NAME)`, of a .csv or .jsonl file; unique, shared or sharded",
    )


def _add_load(made: argparse.ArgumentParser) -> None:
    load = made.add_argument_group("load (a LoadUserShape in the file takes the place of these)")
    load.add_argument(
        "-u", "--users", dest="num_users", type=_count, default=1, metavar="N", help="users to reach (1)"
    )
    load.add_argument(
        "-r", "--rate", type=_rate, default=1.0, metavar="N", help="users to start a second (1)"
    )
    load.add_argument(
        "-t",
        "--run-time",
        type=run_time,
        metavar="TIME",
        help="such as 20, 20s, 3m, 1h20m; without it until Ctrl-C",
    )
    load.add_argument(
        "--processes", type=_count, default=1, metavar="N", help="processes that share the users (1)"
    )


def _add_cluster(made: argparse.ArgumentParser) -> None:
    many = made.add_argument_group("several machines (AIOTEST_TOKEN or --token-file on each)")
    role = many.add_mutually_exclusive_group()
    role.add_argument("--master", action="store_true", help="share the load out to workers")
    role.add_argument("--worker", action="store_true", help="run a share of a master's load")
    many.add_argument("--expect-workers", type=_count, default=1, metavar="N", help="workers to wait for (1)")
    many.add_argument(
        "--master-host", default="127.0.0.1", metavar="HOST", help="of a worker: where its master is"
    )
    many.add_argument("--master-port", type=_port, default=5557, metavar="PORT", help="of a worker: (5557)")
    many.add_argument(
        "--master-bind-host", default="*", metavar="HOST", help="of a master: the address to listen on"
    )
    many.add_argument(
        "--master-bind-port", type=_port, default=5557, metavar="PORT", help="of a master: (5557)"
    )
    many.add_argument("--token-file", metavar="FILE", help="holds the secret that master and workers share")


def file_of(argv: Sequence[str]) -> str:
    """The users' file that a command line names; whatever else is on it is left to `parse`."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("-f", "--aiotestfile", default="aiotestfile")
    try:
        return str(first.parse_known_args(list(argv))[0].aiotestfile)
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error


def data_sets_of(argv: Sequence[str]) -> list[dict[str, Any]]:
    """The data sets that a command line names, by name, as a plan has them; whatever else is on it is left to
    `parse`. Raises: `UsageError`.
    """
    first = _Parser(add_help=False, allow_abbrev=False)
    _add_data_sets(first)
    found: list[dict[str, Any]] = first.parse_known_args(list(argv))[0].data_set
    found.sort(key=lambda each: str(each["name"]))
    for one, other in pairwise(found):
        if one["name"] == other["name"]:
            raise UsageError(f"argument --data-set: `{one['name']}` is given twice")
    return found


async def parse(argv: Sequence[str], version: str) -> argparse.Namespace:
    """The whole command line, with the options that the file's handlers added. Raises: `UsageError`."""
    made = parser(version)
    await events.init_command_line_parser.fire(parser=made)
    options = made.parse_args(list(argv))
    if options.worker and options.run_time is not None:
        raise UsageError("argument -t/--run-time: give it to the master, not to a worker")
    if options.processes > 1 and (options.master or options.worker):
        raise UsageError("argument --processes: start a worker for each process instead")
    options.buckets = sorted(set(options.buckets))
    return options


async def parse_own(args: Sequence[str], host: str | None, version: str) -> argparse.Namespace:
    """A manifest's `args`: only the file's own options, everything else as if it had not been given.

    Raises: `UsageError`.
    """
    own = _Parser(prog="args", add_help=False, allow_abbrev=False)
    await events.init_command_line_parser.fire(parser=own)
    options = parser(version, with_help=False).parse_args([])
    options.host = host or ""
    return own.parse_args(list(args), options)


async def parse_check(argv: Sequence[str], version: str) -> argparse.Namespace:
    """What follows the file on the line of `aiotest check`: its options and the file's own, everything else
    as if it had not been given. Raises: `UsageError`.
    """
    made = _Parser(
        prog="aiotest check",
        usage="aiotest check FILE [options, the file's own among them]",
        description="Read the file, run each job once with one user of each class, and show every call.",
        allow_abbrev=False,
        conflict_handler="resolve",  # an option of the file's wins over ours
    )
    made.add_argument("-H", "--host", help="where requests go; wins over the `host` of every class")
    made.add_argument(
        "--timeout",
        dest="check_timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long the user of one class may take for its jobs, and for `on_start` and `on_stop` (30)",
    )
    _add_data_sets(made)
    made.set_defaults(check_timeout=30.0)
    await events.init_command_line_parser.fire(parser=made)
    return made.parse_args(list(argv), parser(version, with_help=False).parse_args([]))


def own_words(argv: Sequence[str]) -> list[str]:
    """What is left of a command line for the file's own options."""
    return parser("", with_help=False).parse_known_args(list(argv))[1]


# === values ===

_TIME = r"([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?"
_UNITS = {"h": 3600, "m": 60, "s": 1}


def run_time(text: str) -> int:
    """Seconds of `20`, `20s`, `3m`, `1h20m`. Raises: `argparse.ArgumentTypeError`."""
    written = f"{text}s" if _is_whole(text) else text
    parts = re.findall(r"(\d+)([hms])", written) if re.fullmatch(_TIME, written) else []
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds < 1:
        raise argparse.ArgumentTypeError(
            f"`{text}` is no time of a second or more, such as 20, 20s, 3m or 1h20m"
        )
    return seconds


def _data_set(text: str) -> dict[str, Any]:
    form = r"([a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?)=(.+?)(?::(unique|shared|sharded))?(?::(loop|stop))?"
    if (found := re.fullmatch(form, text)) is None:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not NAME=FILE, NAME=FILE:shared or the like, with a name of a-z, 0-9 and -"
        )
    name, file, policy, at_end = found.groups()
    return {
        "name": name,
        "file": str(Path(file).expanduser().absolute()),
        "policy": (policy or "unique").capitalize(),
        "at_end": (at_end or "loop").capitalize(),
    }


def _count(text: str) -> int:
    return _whole(text, 1, 10_000_000, "a whole number, 1 or more")


def _port(text: str) -> int:
    return _whole(text, 0, 65_535, "a port, 0 to 65535")


def _bucket(text: str) -> int:
    return _whole(text, 1, 3_600_000, "a whole number of milliseconds, 1 or more")


def _whole(text: str, least: int, most: int, what: str) -> int:
    number = int(text) if _is_whole(text) else least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"`{text}` is not {what}")
    return number


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def _rate(text: str) -> float:
    return _above_0(text, "users a second")


def _seconds(text: str) -> float:
    return _above_0(text, "seconds")


def _above_0(text: str, of_what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of {of_what} above 0")
    return number
