"""Bodies that are made of parts: forms with files, as browsers send them, and files by themselves.

aiohttp's `FormData` is taken as well as the one here. Files are read when the call is made, whole, and left
open. Start at [`encode`][].
"""

from __future__ import annotations

import io
import mimetypes
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

__all__ = ["Encoded", "FormData", "encode"]

_BREAKS = re.compile(r"[\r\n\0]")


class Encoded(NamedTuple):
    """A body as it is sent; `disposition`, of a file with a name, is its `Content-Disposition`."""

    body: bytes
    content_type: str
    disposition: str | None = None


class FormData:
    """The fields of a form; sent as `multipart/form-data` once one of them is a file or names a content type,
    and URL-encoded otherwise. May be sent any number of times, as far as its files can be rewound.
    """

    def __init__(
        self,
        fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        quote_fields: bool = True,
        charset: str | None = None,
        *,
        default_to_multipart: bool = False,
    ) -> None:
        self._fields: list[tuple[dict[str, str], dict[str, str], Any]] = []
        self._quote_fields = quote_fields
        self._charset = charset
        self._is_multipart = default_to_multipart
        for name, value in fields.items() if isinstance(fields, Mapping) else fields:
            self.add_field(name, value)

    @property
    def is_multipart(self) -> bool:
        return self._is_multipart

    def add_field(
        self, name: str, value: Any, *, content_type: str | None = None, filename: str | None = None
    ) -> None:
        """Add a field.

        Arguments: `value`, a str, a number, bytes or a file; bytes and files have a `filename`, the field's
            name and the file's own unless given.
        Raises: `TypeError` naming an argument of a wrong type; `ValueError` for one with a line break in it.
        """
        for what, text in (("name", name), ("content_type", content_type), ("filename", filename)):
            if text is None and what != "name":
                continue
            if not isinstance(text, str):
                raise TypeError(f"{what} of a form's field must be a str, not {type(text).__name__}")
            if _BREAKS.search(text):
                raise ValueError(f"{what} of a form's field has a line break or a NUL in it: {text!r}")
        if filename is None and _is_file(value):
            filename = _file_name(value) or name
        elif filename is None and isinstance(value, bytes | bytearray | memoryview):
            filename = name
        parameters = {"name": name} if filename is None else {"name": name, "filename": filename}
        self._fields.append(
            (parameters, {} if content_type is None else {"Content-Type": content_type}, value)
        )
        self._is_multipart |= filename is not None or content_type is not None


def encode(data: Any) -> Encoded:
    """The body of `data=…` where that is a form of either kind, a mapping or pairs with files in them, or a
    file. Raises: `TypeError` for anything else.
    """
    if _is_file(data):
        return _file(data)
    if isinstance(data, Mapping | list | tuple):
        data = FormData(data)
    fields = getattr(data, "_fields", None)
    if not isinstance(fields, list):
        raise TypeError(
            "data must be bytes, str, a mapping or a sequence of pairs, a FormData, a file or an async "
            f"generator; {type(data).__name__} is not supported"
        )
    charset = data._charset or "utf-8"
    if data.is_multipart:
        return _multipart(fields, charset, data._quote_fields)
    pairs = [(parameters["name"], value) for parameters, _, value in fields]
    kind = "application/x-www-form-urlencoded"
    body = urlencode(pairs, doseq=True, encoding=charset).encode()
    return Encoded(body, kind if charset == "utf-8" else f"{kind}; charset={charset}")


def _multipart(
    fields: Iterable[tuple[Mapping[str, str], Mapping[str, str], Any]], charset: str, quotes: bool
) -> Encoded:
    boundary = secrets.token_hex(16)
    out = io.BytesIO()
    for parameters, headers, value in fields:
        body, kind = _part(parameters, value, charset)
        kind = headers.get("Content-Type", kind)
        disposition = _disposition("form-data", parameters, quotes)
        out.write(f"--{boundary}\r\nContent-Type: {kind}\r\n".encode())
        out.write(f"Content-Disposition: {disposition}\r\n\r\n".encode())
        out.write(body)
        out.write(b"\r\n")
    out.write(f"--{boundary}--\r\n".encode())
    return Encoded(out.getvalue(), f"multipart/form-data; boundary={boundary}")


def _part(parameters: Mapping[str, str], value: Any, charset: str) -> tuple[bytes, str]:
    if _is_file(value):
        return _read(value, parameters.get("filename"))
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), "application/octet-stream"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(
            f"data: `{parameters['name']}` must be a str, int, float, bytes or a file, "
            f"not {type(value).__name__}"
        )
    return str(value).encode(charset), f"text/plain; charset={charset}"


def _file(file: Any) -> Encoded:
    name = _file_name(file)
    disposition = None if name is None else _disposition("attachment", {"filename": name}, quotes=True)
    return Encoded(*_read(file, name), disposition)


def _is_file(value: Any) -> bool:
    return isinstance(value, io.IOBase) or callable(getattr(value, "read", None))


def _read(file: Any, name: str | None) -> tuple[bytes, str]:
    """What is left of a file, and its type: by its name, or else by whether it holds text."""
    content = file.read()
    guess = name and mimetypes.guess_type(name)[0]
    if isinstance(content, str):
        return content.encode(), guess or "text/plain; charset=utf-8"
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"data: read() of a {type(file).__name__} gave {type(content).__name__}, not bytes")
    return bytes(content), guess or "application/octet-stream"


def _file_name(file: Any) -> str | None:
    name = getattr(file, "name", None)
    if not isinstance(name, str) or not name or (name[0] == "<" and name[-1] == ">"):
        return None
    return Path(name).name


def _disposition(kind: str, parameters: Mapping[str, str], quotes: bool) -> str:
    """RFC 7578 leaves open how names outside of ASCII are sent; with `quotes` files' names are
    percent-encoded, as aiohttp's are, and other names by RFC 5987.
    """
    parts = [kind]
    for key, value in parameters.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        if quotes and key == "filename":
            parts.append(f'{key}="{quote(value, "")}"')
        elif quotes and not value.isascii():
            parts.append(f"{key}*=utf-8''{quote(value, '')}")
        else:
            parts.append(f'{key}="{escaped}"')
    return "; ".join(parts)
