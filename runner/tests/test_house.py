"""The house's rules that no compiler or linter holds. Each failure says which file breaks which rule."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent.parent
CODE = [
    "api",
    "bench",
    "charts",
    "core",
    "e2e",
    "examples",
    "operator",
    "runner",
    "scripts",
    "wire",
    "witness",
]
LONGEST_FILE = 600

# What would give a crate a socket, a file, a clock, a thread pool or an interpreter.
OUTSIDE_WORLD = {
    "tokio",
    "mio",
    "hyper",
    "reqwest",
    "axum",
    "rustix",
    "libc",
    "pyo3",
    "rand",
    "getrandom",
    "kube",
}
CLUSTER_CLIENT = {"kube-client", "kube-runtime", "tokio", "hyper", "reqwest"}


def files(*suffixes: str, under: list[str] | None = None) -> Iterator[Path]:
    """The house's own files of these kinds."""
    for folder in CODE if under is None else under:
        yield from (path for path in sorted((HOUSE / folder).rglob("*")) if path.suffix in suffixes)


def check(broken: list[str], rule: str) -> None:
    """Fail with the rule and every place that breaks it."""
    assert not broken, "\n".join([rule, *broken])


def at(path: Path, line: int | None = None) -> str:
    """A place, as editors understand it."""
    name = str(path.relative_to(HOUSE))
    return name if line is None else f"{name}:{line}"


def lines_with(pattern: str, paths: Iterator[Path]) -> list[str]:
    """Every place in these files where the pattern is found."""
    wanted = re.compile(pattern)
    return [
        f"{at(path, number)}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if wanted.search(line)
    ]


def test_every_module_says_what_it_is() -> None:
    broken = [at(path) for path in files(".rs") if not path.read_text().startswith(("//! ", "#![doc"))]
    broken += [at(path) for path in files(".py") if ast.get_docstring(ast.parse(path.read_text())) is None]
    check(broken, "a module begins with `//!` or a docstring: what it is, what it never does, where to start")


def test_no_file_is_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in files(".rs", ".py", ".pyi", ".sh")}
    broken = [f"{at(path)}: {length} lines" for path, length in lengths.items() if length > LONGEST_FILE]
    check(broken, f"a file has at most {LONGEST_FILE} lines; aim at 150 to 300")


def test_nothing_unfinished_or_left_over_from_debugging() -> None:
    others = (
        path for path in files(".rs", ".py", ".pyi", ".sh", ".toml", ".yaml", ".md") if path != Path(__file__)
    )
    found = lines_with(
        r"\b(TODO|FIXME|XXX)\b|\b(todo|unimplemented|dbg)!\(|#\[ignore|breakpoint\(\)|/tmp/", others
    )
    check(
        found, "no notes to ourselves, ignored tests, debugging aids, or paths in a shared temporary folder"
    )


def test_unsafe_code_is_in_two_corners() -> None:
    allowed = [HOUSE / "runner/src/ffi.rs", HOUSE / "runner/src/client/ffi.rs"]
    found = lines_with(
        r"(allow|expect)\(.*\bunsafe_code\b", (path for path in files(".rs") if path not in allowed)
    )
    check(found, f"only {' and '.join(map(at, allowed))} may allow unsafe code")


def test_only_gather_and_apply_hold_a_cluster_client() -> None:
    others = (path for path in files(".rs", under=["operator"]) if path.stem not in {"gather", "apply"})
    check(
        lines_with(r"\bkube::(Client|Api)\b|\bApi::<|\bApi<", others),
        "only gather.rs and apply.rs hold a client",
    )


def test_no_thread_of_ours_can_attach_to_the_interpreter() -> None:
    rims = [HOUSE / "runner/src" / name for name in ("client", "bindings", "lib.rs")]
    others = (
        path
        for path in files(".rs", under=["runner/src"])
        if not any(path == rim or rim in path.parents for rim in rims)
    )
    check(
        lines_with(r"\bpyo3::|\buse pyo3\b|\bPython::", others),
        "only client/ and bindings/, which Python calls, know pyo3; the threads live elsewhere",
    )


@pytest.mark.parametrize(
    ("crate", "features", "never"),
    [
        ("aiotest-core", "--no-default-features", OUTSIDE_WORLD),
        ("aiotest-api", "--all-features", CLUSTER_CLIENT),
    ],
)
def test_a_crate_cannot_know_what_its_libraries_do_not(crate: str, features: str, never: set[str]) -> None:
    command = ["cargo", "tree", "--locked", "-p", crate, features, "-e", "normal", "--prefix", "none"]
    tree = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    libraries = {line.split(" ")[0] for line in tree.splitlines() if line}
    assert crate in libraries
    check(sorted(libraries & never), f"{crate} does no I/O, so it depends on none of these")


def test_every_test_that_the_architecture_names_exists() -> None:
    text = (HOUSE / "ARCHITECTURE.md").read_text()
    names = set(re.findall(r"`(?:\w+::)*([a-z]\w*_\w*_\w*)`", text))
    source = "\n".join(path.read_text() for path in files(".rs", ".py"))
    known = set(re.findall(r"\b(?:fn|def) (\w+)", source))
    assert names, "ARCHITECTURE.md names the tests that hold its invariants"
    check(sorted(names - known), "ARCHITECTURE.md names tests or functions that don't exist")


def test_every_example_is_described() -> None:
    described = (HOUSE / "examples/README.md").read_text()
    folders = sorted(path.parent.name for path in HOUSE.glob("examples/*/loadtest.yaml"))
    assert folders
    check(
        [name for name in folders if f"({name})" not in described],
        "examples/README.md has a row for each example",
    )
