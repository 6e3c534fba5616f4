"""The logger that scenarios share with the runner: loguru's, set up once per process.

Nothing here decides what is logged; `set_up` only says where it goes and from which level on.
"""

from __future__ import annotations

import sys

from loguru import logger

__all__ = ["LEVELS", "logger", "set_up"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_FORMAT = "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> <level>{level: <8}</level> {message}"


def set_up(level: str = "INFO", logfile: str | None = None) -> None:
    """Send log lines of `level` and above to stderr, or to `logfile` if one is given.

    Values of local variables are kept out of tracebacks: a scenario's tokens and passwords are no business of
    a log.
    Raises: `ValueError` for a level that is not in `LEVELS`; `OSError` if the file cannot be opened.
    """
    if level.upper() not in LEVELS:
        raise ValueError(f"unknown log level `{level}`: use one of {', '.join(LEVELS)}")
    logger.remove()
    logger.add(logfile or sys.stderr, level=level.upper(), format=_FORMAT, backtrace=False, diagnose=False)
