"""Every snippet of the documentation, run. What a block's first line says is in `docs/README.md`."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiotest import options
from command_line import run
from example_target import HOUSE, Target, running_target

PAGES = sorted((HOUSE / "docs").glob("*.md")) + [HOUSE / name for name in ("README.md", "ARCHITECTURE.md")]
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = 3
_NEVER_RUN = {"", "text", "python no-run"}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    kind: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, found.start()) + 1, found[1].strip(), found[2])


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def write_data(page: Path, folder: Path) -> dict[str, Path]:
    """Writes the data files of a page; the data sets of their names."""
    found = {}
    for block in BLOCKS:
        if block.page == page and (name := data_file(block)):
            (folder / name).write_text(block.code)
            found[name.partition(".")[0]] = folder / name
    return found


def data_file(block: Block) -> str | None:
    """The name of the data file that a block is."""
    form = re.fullmatch(r"(csv|jsonl) ([a-z]+\.\1)", block.kind)
    return form[2] if form else None


def is_aiotestfile(code: str) -> bool:
    """Whether it defines users or a shape."""
    classes = [node for node in ast.parse(code).body if isinstance(node, ast.ClassDef)]
    return any(each.name.startswith("Test") or each.name.endswith("Test") for each in classes)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with running_target() as running:
        yield running


@pytest.mark.parametrize("block", of_kind("python"), ids=str)
def test_a_snippet_runs(block: Block, target: Target, tmp_path: Path) -> None:
    file = tmp_path / "aiotestfile.py"
    file.write_text(block.code)
    if not is_aiotestfile(block.code):
        subprocess.run([sys.executable, file], cwd=tmp_path, check=True, timeout=60)
        return
    sets = write_data(block.page, tmp_path)
    wanted = [f"--data-set={name}={sets[name]}" for name in re.findall(r'\bdata\("(\w+)"\)', block.code)]
    code, output = run("check", file, "--host", target.url, *wanted, cwd=tmp_path)
    # A call that is meant to time out is shown as failed.
    meant_to_fail = block.code.count("except TimeoutError")
    assert code == (1 if meant_to_fail else 0), output
    assert output.count("\nproblem: ") == meant_to_fail == output.count("failed: TimeoutError"), output
    assert re.search(r", [1-9]\d* calls?$", output), output


@pytest.mark.parametrize("block", of_kind("python no-run"), ids=str)
def test_a_snippet_that_is_not_run_is_python(block: Block) -> None:
    compile(block.code, str(block), "exec")


@pytest.mark.parametrize("block", of_kind("yaml"), ids=str)
def test_a_manifest_is_accepted(block: Block, tmp_path: Path) -> None:
    (tmp_path / "loadtest.yaml").write_text(block.code)
    (tmp_path / "aiotestfile.py").write_text("from aiotest import User")
    write_data(block.page, tmp_path)
    code, output = run("run", tmp_path, cwd=tmp_path)
    # The manifest is right, and so its users are read; there are none.
    assert code == NOT_RUN, output
    assert "no user class" in output, output


@pytest.mark.parametrize("block", of_kind("console", "sh"), ids=str)
def test_the_options_of_a_command_exist(block: Block) -> None:
    for line in block.code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] != ["aiotest"] or words[1:2] in (["run"], ["init"], ["check"]):
            continue
        options.parser("").parse_args(words[1:])


def test_the_page_of_the_api_is_what_the_docstrings_say() -> None:
    sys.path.insert(0, str(HOUSE / "scripts"))
    try:
        page = importlib.import_module("api_docs").page()
    finally:
        sys.path.pop(0)
    assert (HOUSE / "docs/api.md").read_text() == page, "run `make generate`"


def test_no_block_is_of_an_unknown_kind() -> None:
    known = _NEVER_RUN | {"python", "yaml", "console", "sh"}
    assert [str(block) for block in BLOCKS if block.kind not in known and data_file(block) is None] == []
