"""Writes docs/api.md: the scenario API, from the package's docstrings and stubs.

`make generate` runs it. Reads source alone, and imports nothing of the package. Start at [`page`][].
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
PACKAGE = HOUSE / "runner/python/aiotest"
PAGE = HOUSE / "docs/api.md"

CONTENTS = (
    ("Users", (("user", "User"), ("user", "AsyncHttpUser"), ("shape", "LoadUserShape"))),
    (
        "HTTP",
        (
            ("", "ClientSession"),
            ("", "Call"),
            ("", "Response"),
            ("", "Content"),
            ("", "CookieJar"),
            ("", "TCPConnector"),
            ("", "ClientTimeout"),
            ("forms", "FormData"),
        ),
    ),
    (
        "WebSocket",
        (("websocket", "WebSocket"), ("websocket", "Connecting"), ("websocket", "ClientWSTimeout")),
    ),
    ("Anything else", (("measuring", "measure"), ("measuring", "record"))),
    ("Together", (("rendezvous", "rendezvous"),)),
    ("Data sets", (("data_sets", "data"), ("data_sets", "DataSet"), ("data_sets", "DataExhausted"))),
    ("Events", (("events", "EventHook"),)),
    ("Time", (("", "intended_start"),)),
)
"""Sections, and what is in each: a module and a name in it. Without one it is native: in a stub."""

Node = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def page() -> str:
    """The whole page."""
    lines = ["# The scenario API", ""]
    lines += [
        "Made by `make generate` from the package's docstrings. Times are in seconds unless a name says"
    ]
    lines += ["otherwise; what it is all for is told in the [other pages](README.md).", ""]
    for title, names in CONTENTS:
        lines += [f"## {title}", ""]
        for module, name in names:
            lines += list(entry(find(module, name)))
    return "\n".join(lines).rstrip() + "\n"


def find(module: str, name: str) -> Node:
    """The definition of a name. Raises: `LookupError`."""
    files = [PACKAGE / f"{module}.py"] if module else sorted(PACKAGE.glob("*.pyi"))
    for file in files:
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, Node) and node.name == name:
                return node
    raise LookupError(f"{name} is not in {module or 'the stubs'}")


def entry(node: Node) -> Iterator[str]:
    """A class with its members, or a function."""
    if not isinstance(node, ast.ClassDef):
        yield from (f"### `{node.name}{signature(node)}`", "", *prose(node), "")
        return
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield from (f"### class `{node.name}{f'({bases})' if bases else ''}`", "", *prose(node), "")
    body = node.body
    for index, member in enumerate(body):
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield from attribute(member, body[index + 1] if index + 1 < len(body) else None)
        elif isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from method(node, member)


def attribute(member: ast.AnnAssign, behind: ast.stmt | None) -> Iterator[str]:
    name = ast.unparse(member.target)
    if name.startswith("_"):
        return
    value = f" = {ast.unparse(member.value)}" if member.value else ""
    yield f"- `{name}: {ast.unparse(member.annotation)}{value}`"
    if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant):
        yield from indented(str(behind.value.value))
    yield ""


def method(owner: ast.ClassDef, member: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    made = member.name in ("__init__", "__new__")
    if member.name.startswith("_") and not made:
        return
    decorators = {ast.unparse(each) for each in member.decorator_list}
    text = ast.get_docstring(member)
    if "property" in decorators:
        returns = f": {ast.unparse(member.returns)}" if member.returns else ""
        yield f"- `{member.name}{returns}`"
    elif made and text is None:
        return
    else:
        name = owner.name if made else member.name
        word = "async " if isinstance(member, ast.AsyncFunctionDef) else ""
        yield f"- `{word}{name}{signature(member, with_result=not made)}`"
    if text:
        yield from indented(text)
    yield ""


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, with_result: bool = True) -> str:
    """Its parameters, but for the object itself, and what it returns."""
    arguments = ast.unparse(node.args)
    arguments = re.sub(r"^(self|cls)(, )?", "", arguments)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and with_result else ""
    return f"({arguments}){returns}"


def prose(node: Node) -> list[str]:
    return (ast.get_docstring(node) or "").splitlines()


def indented(text: str) -> Iterator[str]:
    yield ""
    for line in text.strip().splitlines():
        yield f"  {line.strip()}" if line.strip() else ""


if __name__ == "__main__":
    PAGE.write_text(page())
