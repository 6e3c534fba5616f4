"""What the command lines of the benchmark and of its programs have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence


def parse(
    parser: argparse.ArgumentParser, names: Iterable[str], argv: Sequence[str] | None
) -> argparse.Namespace:
    """The options, with `cases`: those of `names` that are asked for, or else all.

    By hand: argparse of CPython 3.11 takes no default for a list with choices.
    """
    known = list(names)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"which (default: all) of {', '.join(known)}"
    )
    options = parser.parse_args(argv)
    if unknown := [case for case in options.cases if case not in known]:
        parser.error(f"no such case: {', '.join(unknown)}")
    options.cases = options.cases or known
    return options
