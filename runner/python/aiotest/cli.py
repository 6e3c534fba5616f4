"""The command `aiotest`: which of its ways a command line means, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line (the process's own if none is given). Returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    match given[:1]:
        case ["run"]:
            from aiotest import _native, process

            process.let_go_of_ctrl_c()
            return _native.run_manifest(given[1:])
        case ["check"]:
            from aiotest import check

            return check.run(given[1:])
        case ["init"]:
            from aiotest import starter

            return starter.run(given[1:])
        case ["pod"]:
            from aiotest import _native, process

            process.let_go_of_ctrl_c()
            return _native.run_pod(given[1:])
        case ["master"]:
            from aiotest import children

            return children.master(given[1:])
        case ["runner"]:
            from aiotest import children

            return children.runner(given[1:])
        case _:
            from aiotest import command

            return command.run(given)
