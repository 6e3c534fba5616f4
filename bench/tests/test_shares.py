"""Where a sample of the profile belongs."""

from __future__ import annotations

import pytest
from shares import BORDER, HTTP, KERNEL, MEMORY, OTHER, PYTHON, STATISTICS, Sample, place, sampled, sort

NATIVE = "/venv/aiotest/_native.abi3.so"
PROGRAM = "/usr/bin/python3.13"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            ["/rustc/library/core/src/num.rs", "/cargo/hdrhistogram-7/src/lib.rs", "core/src/stats.rs"],
            STATISTICS,
        ),
        (["/cargo/httparse-1/src/lib.rs", "runner/src/reactor/receive.rs"], HTTP),
        (
            ["/rustc/library/alloc/src/vec.rs", "runner/src/reactor/send.rs", "runner/src/client/call.rs"],
            HTTP,
        ),
        (["/cargo/pyo3-0/src/instance.rs", "runner/src/client/step.rs"], BORDER),
        (["/cargo/rustix-1/src/net.rs", "runner/src/reactor/send.rs"], KERNEL),
        (["??"], OTHER),
    ],
)
def test_an_address_of_ours_belongs_to_the_innermost_file_that_says_something(
    files: list[str], expected: str
) -> None:
    """What was inlined counts as itself, not as the function around it."""
    assert place(Sample(0, NATIVE, "drain"), files) == expected


@pytest.mark.parametrize(
    ("dso", "symbol", "expected"),
    [
        ("[kernel.kallsyms]", "tcp_sendmsg", KERNEL),
        (PROGRAM, "_PyEval_EvalFrameDefault", PYTHON),
        ("/lib/_json.cpython-313-x86_64-linux-gnu.so", "scan_once_unicode", PYTHON),
        ("/lib/libc.so.6", "_int_malloc", MEMORY),
        ("/lib/libc.so.6", "__libc_send", KERNEL),
        ("/lib/libc.so.6", "__memmove_avx_unaligned_erms", OTHER),
    ],
)
def test_what_is_not_ours_belongs_to_its_object(dso: str, symbol: str, expected: str) -> None:
    """The kernel's, the interpreter's, the C library's."""
    assert place(Sample(0, dso, symbol), []) == expected


def test_without_a_file_the_functions_path_tells() -> None:
    """Code that the compiler made has none."""
    symbol = "core::ptr::drop_in_place<aiotest_runner::reactor::call::Call>"
    assert place(Sample(0, NATIVE, symbol), ["??"]) == HTTP


def test_shares_add_up_to_one() -> None:
    """Each sample is in exactly one place."""
    samples = [
        Sample(0, PROGRAM, "a"),
        Sample(0, PROGRAM, "b"),
        Sample(1, NATIVE, "c"),
        Sample(2, "[vdso]", "d"),
    ]
    profile = sort(samples, {NATIVE: {1: ["runner/src/reactor/send.rs"]}})
    assert profile.shares == {PYTHON: 0.5, HTTP: 0.25, KERNEL: 0.25}
    assert profile.functions[2] == (HTTP, "c", 0.25)


def test_what_perf_prints_is_read() -> None:
    """Its maps turn an instruction's address into one of the file."""
    lines = [
        f"PERF_RECORD_MMAP2 6/6: [0x7f04d0a000(0x2a000) @ 0x1000 fe:00 17 0]: r-xp {NATIVE}",
        f"        cpu-clock:pppH:      7f04d0a123 pyo3::call<(T0,)>::positional ({NATIVE})",
        "        cpu-clock:pppH:  ffffffff8166a390 tcp_sendmsg ([kernel.kallsyms])",
    ]
    assert sampled(lines) == [
        Sample(0x1123, NATIVE, "pyo3::call<(T0,)>::positional"),
        Sample(0xFFFFFFFF8166A390, "[kernel.kallsyms]", "tcp_sendmsg"),
    ]
