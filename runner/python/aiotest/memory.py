"""Keeps the garbage collector's pauses short: what lives long is put out of its sight.

A hundred thousand users are some million objects, which a collection would look through while every user
waits.
Collects nothing itself but once, before there is any user. Start at [`settle`][].
"""

from __future__ import annotations

import gc
from importlib import import_module

__all__ = ["grown", "settle"]

_grown = False


def settle() -> None:
    """Once per process, after the scenario has been read: keep what is there out of every later
    collection, and load what a first failure would have to load while users run.
    """
    import_module("aiotest.exception")
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if _collected not in gc.callbacks:
        gc.callbacks.append(_collected)


def grown() -> None:
    """There are more users than ever before: what is there after the next collection is kept out of the
    later ones.

    Users that come and go below that number are not: what they leave behind has to be found.
    """
    global _grown
    _grown = True


def _collected(phase: str, info: dict[str, int]) -> None:
    global _grown
    if phase == "stop" and _grown:
        _grown = False
        gc.freeze()
