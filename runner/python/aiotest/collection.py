"""Reads an aiotestfile: imports it by its path and finds its user classes and its shape.

Nothing here runs a user or sends anything. Whatever is wrong with the file is an `AiotestfileError` that
names the file and the line. Start at [`collect`][].
"""

from __future__ import annotations

import importlib.util
import inspect
import ipaddress
import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from aiotest import gathering, waiting
from aiotest.log import logger
from aiotest.shape import LoadUserShape
from aiotest.user import AsyncHttpUser, User, is_job, is_job_name

__all__ = ["AiotestfileError", "Collected", "collect", "find_file"]


class AiotestfileError(Exception):
    """The scenario file cannot be used; the text begins with its place, `file:line`."""


@dataclass(frozen=True)
class Collected:
    """What a scenario file holds."""

    path: Path
    user_classes: tuple[type[User], ...]
    """In definition order; those with weight 0 are left out."""
    shape: LoadUserShape | None

    @property
    def weights(self) -> list[tuple[str, int]]:
        """Name and weight of every class, in order."""
        return [(cls.__name__, cls.weight) for cls in self.user_classes]

    def aim_at(self, host: str | None, given_as: str = "argument -H/--host") -> None:
        """Let `host`, if there is one, win over the `host` of every class. `given_as`: what its author knows
        it as. Raises: `AiotestfileError` where a class for HTTP would have one that is no URL.
        """
        for cls in self.user_classes:
            if host:
                cls.host = host
            aim: object = cls.host
            if issubclass(cls, AsyncHttpUser) and aim and not isinstance(aim, property) and not _is_url(aim):
                what = given_as if host else f"{_place(cls)}: {cls.__name__}.host"
                raise AiotestfileError(f"{what} {_no_url(aim)}")

    def can_arrive(self) -> None:
        """See that every class can take iterations of the open model. Raises: `AiotestfileError`."""
        for cls in self.user_classes:
            if cls.start is not User.start:
                raise AiotestfileError(
                    f"{_place(cls.start, cls)}: {cls.__name__} has a `start` of its own, which load.arrivals "
                    "never calls: an iteration is one pass over the jobs of the class. Let one job do what "
                    "it does, such as `await asyncio.gather(…)`"
                )


def find_file(name: str) -> Path:
    """The scenario file of this name, with or without its `.py`. Raises: `AiotestfileError`."""
    given = Path(name).expanduser()
    candidates = [given] if given.suffix == ".py" else [given.with_name(given.name + ".py"), given]
    for path in candidates:
        if path.is_file():
            return path.resolve()
    tried = " or ".join(str(path) for path in candidates)
    raise AiotestfileError(f"{candidates[0]}: no such file (looked for {tried} in {Path.cwd()})")


def collect(name: str) -> Collected:
    """Import the file and find what is to be run. Raises: `AiotestfileError` naming file and line."""
    path = find_file(name)
    return _select(path, _import(path))


def _select(path: Path, module: ModuleType) -> Collected:
    classes = list(dict.fromkeys(value for value in vars(module).values() if inspect.isclass(value)))
    users = [cls for cls in classes if issubclass(cls, User) and _is_named(cls)]
    if not users:
        raise _no_user_class(path, [cls for cls in classes if issubclass(cls, User)])
    for cls in users:
        _check(cls)
    for cls in users:
        if cls.weight == 0:
            logger.info(f"{cls.__name__} has weight 0: none of its users will run")
    enabled = tuple(cls for cls in users if cls.weight)
    if not enabled:
        raise AiotestfileError(
            f"{_place(users[0])}: every user class has weight 0: give one a weight of 1 or more"
        )
    return Collected(path, enabled, _shape(classes))


# === importing ===


def _import(path: Path) -> ModuleType:
    gathering.install()
    for folder in (str(Path.cwd()), str(path.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    # Its own name lets `import aiotestfile` in a sibling find the same module; a name that is taken stays
    # whose it is.
    name = path.stem if path.stem not in sys.modules else f"aiotestfile:{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AiotestfileError(f"{path}:1: not a Python file: its name must end in `.py`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[name]
        raise AiotestfileError(_import_failure(path, error)) from error
    return module


def _import_failure(path: Path, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}: syntax error: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{path}:{lines[-1] if lines else 1}: failed to import: {what}"


# === judging ===


def _is_named(cls: type) -> bool:
    return cls not in (User, LoadUserShape) and (
        cls.__name__.startswith("Test") or cls.__name__.endswith("Test")
    )


def _check(cls: type[User]) -> None:
    weight: object = cls.weight
    if isinstance(weight, bool) or not isinstance(weight, int) or weight < 0:
        raise AiotestfileError(
            f"{_place(cls)}: {cls.__name__}.weight must be a whole number, 0 or more "
            f"(0 disables the class), not {weight!r}"
        )
    wait: object = cls.wait_time
    if not isinstance(wait, property) and (wrong := waiting.fault(wait)):
        raise AiotestfileError(f"{_place(wait, cls)}: {cls.__name__}.wait_time {wrong}")
    if issubclass(cls, AsyncHttpUser):
        _check_connections(cls)
    for name in ("start", "on_start", "on_stop"):
        if not inspect.iscoroutinefunction(inspect.unwrap(getattr(cls, name))):
            raise AiotestfileError(
                f"{_place(getattr(cls, name), cls)}: {cls.__name__}.{name} must be `async def`"
            )
    _check_jobs(cls)


def _check_connections(cls: type[AsyncHttpUser]) -> None:
    name = f"{_place(cls)}: {cls.__name__}"
    whose: object = cls.connections
    if whose not in ("own", "shared", "close"):
        raise AiotestfileError(f'{name}.connections must be "own", "shared" or "close", not {whose!r}')
    sources: object = cls.source_addresses
    if isinstance(sources, str) or not isinstance(sources, Sequence) or not all(map(_is_address, sources)):
        raise AiotestfileError(
            f'{name}.source_addresses must be addresses of this machine as ["10.0.0.1"] is, not {sources!r}'
        )
    limit: object = cls.connection_limit
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise AiotestfileError(
            f"{name}.connection_limit must be a number of connections, or 0 for any number, not {limit!r}"
        )


def _is_address(text: object) -> bool:
    try:
        ipaddress.ip_address(str(text))
    except ValueError:
        return False
    return True


def _is_url(host: object) -> bool:
    return re.match(r"(?i)https?://[^/?#]", str(host)) is not None


def _no_url(host: object) -> str:
    example = f"http://{host}" if re.fullmatch(r"[\w.-]+(:\d+)?(/.*)?", str(host)) else "http://example.com"
    return f"must be a URL that begins with http:// or https://, such as {example}, not {host!r}"


def _check_jobs(cls: type[User]) -> None:
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if is_job_name(name) and not is_job(value) and _looks_like_a_job(value):
                raise AiotestfileError(
                    f"{_place(value, cls)}: {cls.__name__}.{name} is named like a job, but is no coroutine: "
                    "make it `async def`, or give it a name that neither starts nor ends with `test`"
                )
    jobs: Any = cls.jobs
    if not isinstance(jobs, list | tuple) or not all(callable(job) for job in jobs):
        raise AiotestfileError(
            f"{_place(cls)}: {cls.__name__}.jobs must be a list of coroutine functions, not {jobs!r}"
        )
    if not jobs:
        raise AiotestfileError(
            f"{_place(cls)}: {cls.__name__} has no job: write `async def test_…(self)`, "
            "a coroutine whose name starts or ends with `test`"
        )
    for job in jobs:
        if not _takes_the_user(job):
            name = f"{cls.__name__}.{getattr(job, '__name__', job)}"
            raise AiotestfileError(
                f"{_place(job, cls)}: {name}{inspect.signature(job)} must take the user alone: `(self)`"
            )


def _takes_the_user(job: Any) -> bool:
    try:
        # A decorator may add what the function inside it wants beside the user.
        inspect.signature(job, follow_wrapped=False).bind(None)
    except TypeError:
        return False
    except ValueError:
        pass  # written in C, and doesn't say
    return True


def _looks_like_a_job(value: object) -> bool:
    return isinstance(value, FunctionType | staticmethod | classmethod)


def _shape(classes: list[type]) -> LoadUserShape | None:
    shapes = [cls for cls in classes if issubclass(cls, LoadUserShape) and cls is not LoadUserShape]
    named = [cls for cls in shapes if _is_named(cls)]
    if len(named) > 1:
        names = " and ".join(cls.__name__ for cls in named)
        raise AiotestfileError(f"{_place(named[1])}: {names} are both shapes: a file may have one")
    for cls in shapes:
        if not named:
            logger.warning(
                f"{cls.__name__} is no shape of this run: its name neither starts nor ends with `Test`"
            )
    if not named:
        return None
    if inspect.isabstract(named[0]):
        raise AiotestfileError(f"{_place(named[0])}: {named[0].__name__} has no `tick` method")
    try:
        return named[0]()
    except Exception as error:
        raise AiotestfileError(
            f"{_place(named[0])}: failed to make {named[0].__name__}: {type(error).__name__}: {error}"
        ) from error


def _no_user_class(path: Path, near: list[type[User]]) -> AiotestfileError:
    own = [cls for cls in near if not cls.__module__.startswith("aiotest.")]
    if own:
        return AiotestfileError(
            f"{_place(own[0])}: no user class: "
            f"the name of {own[0].__name__} neither starts nor ends with `Test`"
        )
    return AiotestfileError(
        f"{path}:1: no user class: "
        "write a subclass of User or AsyncHttpUser whose name starts or ends with `Test`"
    )


def _place(thing: object, fallback: type | None = None) -> str:
    """`file:line` of a class or function, of `fallback` where the thing itself has none."""
    function = inspect.unwrap(getattr(thing, "__func__", thing)) if callable(thing) else thing
    if isinstance(function, FunctionType):
        return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    try:
        lines, first = inspect.getsourcelines(thing)  # type: ignore[arg-type]
        decorators = next((i for i, line in enumerate(lines) if line.lstrip().startswith("class ")), 0)
        return f"{inspect.getsourcefile(thing)}:{first + decorators}"  # type: ignore[arg-type]
    except (OSError, TypeError):
        return _place(fallback) if fallback is not None else "?:1"
