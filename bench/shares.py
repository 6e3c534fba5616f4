"""Where our own CPU goes: Python, HTTP, system calls, statistics. By `perf`, a thousand samples a second.

An address of ours is looked up with everything that was inlined there, innermost first, and belongs to the
first file that says something: the standard library's and small helpers' don't. Start at `of`; `sort` and
`place` are pure.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cases import Contestant
from install import HOUSE
from measure import measure
from rivals import Rival
from targets import target

SECONDS = 8
FREQUENCY = 997  # a prime: in step with nothing
LISTED = 12
RECORD = HOUSE / ".cache/bench/perf.data"

PYTHON, HTTP, KERNEL, STATISTICS = "Python", "HTTP", "system calls", "statistics"
BORDER, MEMORY, OTHER = "border to Python", "memory", "other"

# The first that a source file's path contains.
FILES = (
    ("core/src/histogram", STATISTICS),
    ("core/src/stats", STATISTICS),
    ("hdrhistogram", STATISTICS),
    ("runner/src/reactor", HTTP),
    ("httparse", HTTP),
    ("cookie_store", HTTP),
    ("/url-", HTTP),
    ("rustls", HTTP),
    ("/ring-", HTTP),
    ("/slotmap-", HTTP),
    ("rustix", KERNEL),
    ("linux-raw-sys", KERNEL),
    ("runner/src", BORDER),
    ("pyo3", BORDER),
)


class NoProfile(Exception):
    """The process could not be profiled; the text says why."""


@dataclass(frozen=True)
class Sample:
    """An instruction that was running: its address in the object, the object's path, the function's name."""

    address: int
    dso: str
    symbol: str


@dataclass(frozen=True)
class Profile:
    """The share of each place, and of the functions that take most with their place; the largest first."""

    shares: dict[str, float]
    functions: list[tuple[str, str, float]]

    def table(self, about: str) -> str:
        """For people."""
        cells = (f"{name} {share:.1%}" for name, share in self.shares.items())
        lines = [f"\nwhere aiotest's CPU goes in {about}: {', '.join(cells)}; most of it in"]
        return "\n".join(
            lines + [f"{share:8.1%}  {name:18}{symbol}" for name, symbol, share in self.functions]
        )


def of(contestant: Contestant, ours: Rival, cores: Sequence[int]) -> Profile:
    """Where the CPU of `ours` goes while it does the contestant's work."""
    if shutil.which("perf") is None:
        raise NoProfile("perf is not installed (apt install linux-perf)")
    with target(contestant.work, cores[0]) as aim:
        measure(contestant, ours, aim, cores[-1], partial(record, cores[0]), SECONDS + 5)
    samples = read()
    if not samples:
        raise NoProfile("perf saw nothing")
    return sort(samples, {dso: sources(dso, samples) for dso in {s.dso for s in samples} if is_ours(dso)})


def record(core: int, pid: int) -> None:
    """Sample the process for a while; perf itself runs on the target's core."""
    perf = ["perf", "record", "--quiet", "--event=cpu-clock", f"--freq={FREQUENCY}", f"--pid={pid}"]
    command = ["taskset", "-c", str(core), *perf, f"--output={RECORD}", "--", "sleep", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoProfile(f"perf failed: {done.stderr.strip()}")


def read() -> list[Sample]:
    """The samples that were recorded, with addresses as the objects' own tables have them."""
    command = ["perf", "script", "--input", str(RECORD), "--show-mmap-events", "--fields", "ip,sym,dso,event"]
    return sampled(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


def sampled(lines: Sequence[str]) -> list[Sample]:
    """The samples that perf printed, beside what it printed of maps."""
    maps = list(mapped(lines))
    samples = []
    for line in lines:
        # A Rust function's name may hold anything but the end of the line.
        found = re.fullmatch(r"\s*\S*cpu-clock\S*\s+([0-9a-f]+)\s+(.+)\s+\(([^()]+)\)\s*", line)
        if found:
            ip, dso = int(found[1], 16), found[3]
            near = (ip - at + into for at, size, into, path in maps if path == dso and 0 <= ip - at < size)
            samples.append(Sample(next(near, ip), dso, found[2]))
    return samples


def mapped(lines: Iterable[str]) -> Iterable[tuple[int, int, int, str]]:
    """What was mapped: where, how much of it, from which offset of which file."""
    for line in lines:
        found = re.search(
            r"PERF_RECORD_MMAP2? .*\[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (\S+) .*\]: \S+ (.+)$", line
        )
        if found:
            yield int(found[1], 16), int(found[2], 16), int(found[3], 0), found[4].strip()


def is_ours(dso: str) -> bool:
    """Whether an object is our native module."""
    return Path(dso).name.startswith("_native")


def sources(dso: str, samples: Sequence[Sample]) -> dict[int, list[str]]:
    """The source files of each address in an object of ours, innermost first."""
    headers = subprocess.run(["readelf", "-lW", dso], capture_output=True, text=True, check=True).stdout
    loads = [
        [int(number, 16) for number in line.split()[1:6]]
        for line in headers.splitlines()
        if line.split()[:1] == ["LOAD"]
    ]
    addresses = {}
    for offset in {sample.address for sample in samples if sample.dso == dso}:
        at = next((va for o, va, _, size, _ in loads if o <= offset < o + size), None)
        addresses[offset] = offset if at is None else offset + at - next(o for o, va, *_ in loads if va == at)
    asked = "".join(f"{address:#x}\n" for address in addresses.values())
    command = ["addr2line", "--exe", dso, "--addresses", "--inlines"]
    answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=True).stdout
    files: dict[int, list[str]] = {}
    for line in answer.splitlines():
        if line.startswith("0x") and ":" not in line:
            files[int(line, 16)] = []
        else:
            files[next(reversed(files))].append(line.rpartition(":")[0])
    return {offset: files.get(address, []) for offset, address in addresses.items()}


def sort(samples: Sequence[Sample], files: dict[str, dict[int, list[str]]]) -> Profile:
    """Where the samples belong."""
    placed = [(place(s, files.get(s.dso, {}).get(s.address, [])), s.symbol) for s in samples]
    shares = Counter(name for name, _ in placed).most_common()
    functions = Counter(placed).most_common(LISTED)
    return Profile(
        {name: count / len(samples) for name, count in shares},
        [(*function, count / len(samples)) for function, count in functions],
    )


def place(sample: Sample, files: Sequence[str]) -> str:
    """Where a sample belongs; `files` are the source files of its address, innermost first."""
    if sample.dso.startswith(("[kernel", "[vdso", "[unknown")):
        return KERNEL
    if is_ours(sample.dso):
        # Of what the compiler made itself, such as the end of a value's life, only the function is known.
        path = sample.symbol.replace("aiotest_runner::", "runner/src/").replace("aiotest_core::", "core/src/")
        named = (name for file in (*files, path.replace("::", "/")) for part, name in FILES if part in file)
        return next(named, OTHER)
    if sample.symbol == "__tls_get_addr":  # how often we are attached to the interpreter is counted by thread
        return BORDER
    name = Path(sample.dso).name
    if re.search(r"alloc|free|_int_|arena", sample.symbol) and name.startswith("libc"):
        return MEMORY
    if name.startswith(("libc", "libpthread")):
        return KERNEL if re.search(r"send|recv|epoll|syscall|writev?$|read$|clock_", sample.symbol) else OTHER
    return PYTHON if name.startswith(("python", "libpython")) or ".cpython-" in name else OTHER
