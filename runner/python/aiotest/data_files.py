"""Reads the file of a data set, CSV or JSON lines, and says what is wrong with one, by file and line.

Holds the rows as the file has them; what a user is given is made for it, so nobody sees another's changes.
Start at [`read`][].
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aiotest.collection import AiotestfileError

__all__ = ["LARGEST", "MOST_ROWS", "DataFileError", "Rows", "read"]

LARGEST = 64 * 1024 * 1024
"""The most bytes of a file."""
MOST_ROWS = 1_000_000
"""The most rows of a file."""


class DataFileError(AiotestfileError):
    """The file of a data set cannot be used; the text begins with its place, `file:line`."""


class Rows:
    """The rows of a file."""

    def __init__(self, rows: Sequence[Any], made: Callable[[Any], dict[str, Any]], hash: str) -> None:
        self._rows, self._made = rows, made
        self.hash = hash
        """Tells the file's content from any other."""

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A row, made anew for whoever asks."""
        return self._made(self._rows[index])


def read(path: Path, name: str) -> Rows:
    """The rows of the data set `name`, a CSV file with a header or one JSON object a line, as the end of its
    name says. Raises: `DataFileError`.
    """
    return _File(path, name).rows()


class _File:
    """A file while it is being read."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def rows(self) -> Rows:
        parse = {".csv": self._csv, ".jsonl": self._jsonl}.get(self._path.suffix)
        if parse is None:
            raise self._error(None, "the file's name must end in .csv or .jsonl")
        content = self._content()
        rows, made = parse(self._text(content))
        if len(rows) > MOST_ROWS:
            raise self._error(None, f"there are {len(rows)} rows: at most {MOST_ROWS} are read")
        return Rows(rows, made, hashlib.sha256(content).hexdigest()[:16])

    def _error(self, line: int | None, what: str) -> DataFileError:
        place = self._path.name if line is None else f"{self._path.name}:{line}"
        return DataFileError(f"{place}: data set `{self._name}`: {what}")

    def _content(self) -> bytes:
        try:
            if not self._path.is_file():
                what = "is no file" if self._path.exists() else "there is no such file"
                raise self._error(None, f"{what}: {self._path}")
            if (size := self._path.stat().st_size) > LARGEST:
                raise self._error(None, f"the file has {size} bytes: at most {LARGEST} are read")
            return self._path.read_bytes()
        except OSError as error:
            raise self._error(None, f"failed to read the file: {error.strerror}") from error

    def _text(self, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self._error(
                line, f"the byte {content[error.start]:#04x} is not UTF-8: save the file as UTF-8"
            ) from error

    # === CSV ===

    def _csv(self, text: str) -> tuple[Sequence[Any], Callable[[Any], dict[str, Any]]]:
        lines = self._records(text)
        _, header = next(lines, (1, None))
        if header is None:
            raise self._error(1, "the file is empty: its first line must name the columns")
        self._check_header(header)
        rows = []
        for line, fields in lines:
            if len(fields) != len(header):
                hint = ": a field with a comma in it stands in quotes" if len(header) < len(fields) else ""
                raise self._error(
                    line, f"{_count(fields)} where the header has {len(header)} ({', '.join(header)}){hint}"
                )
            rows.append(tuple(fields))
        if not rows:
            raise self._error(1, "there is a header and no row beneath it")
        return rows, lambda fields: dict(zip(header, fields, strict=True))

    def _records(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Each with the line on which it begins; blank lines are none."""
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        begin = 1
        try:
            for fields in reader:
                if fields:
                    yield begin, fields
                begin = reader.line_num + 1
        except csv.Error as error:
            raise self._error(begin, f"the row that begins here is no CSV: {error}") from error

    def _check_header(self, header: list[str]) -> None:
        if not all(name.strip() for name in header):
            raise self._error(1, f"a column has no name: {', '.join(header)}")
        if twice := [name for index, name in enumerate(header) if name in header[:index]]:
            raise self._error(1, f"two columns are called `{twice[0]}`")
        if len(header) == 1 and any(other in header[0] for other in ";\t"):
            raise self._error(1, f"there is one column, {header[0]!r}: fields are parted by commas")

    # === JSON lines ===

    def _jsonl(self, text: str) -> tuple[Sequence[Any], Callable[[Any], dict[str, Any]]]:
        rows = []
        # Not `splitlines`, to which more than a line's end is one.
        for line, written in enumerate(text.split("\n"), start=1):
            if not written.strip():
                continue
            try:
                row = json.loads(written)
            except (ValueError, RecursionError) as error:
                raise self._error(line, f"the line is no JSON: {error}") from error
            if not isinstance(row, dict):
                raise self._error(line, f"the line holds {_kind(row)}: each must hold a JSON object")
            rows.append(written)
        if not rows:
            raise self._error(1, "the file is empty: each line must hold a JSON object")
        return rows, json.loads


def _count(fields: list[str]) -> str:
    return "1 field" if len(fields) == 1 else f"{len(fields)} fields"


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
