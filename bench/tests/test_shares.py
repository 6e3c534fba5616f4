"""Where a sample of the profile belongs."""

from __future__ import annotations

import pytest
from shares import BORDER, HTTP, KERNEL, MEMORY, OTHER, PYTHON, STATISTICS, Sample, mapped, place, sort

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


def test_shares_add_up_to_one() -> None:
    """Each sample is in exactly one place."""
    samples = [
        Sample(0, PROGRAM, "a"),
        Sample(0, PROGRAM, "b"),
        Sample(1, NATIVE, "c"),
        Sample(2, "[vdso]", "d"),
    ]
    shares = sort(samples, {NATIVE: {1: ["runner/src/reactor/send.rs"]}})
    assert shares == {PYTHON: 0.5, HTTP: 0.25, KERNEL: 0.25}


def test_a_map_of_perf_is_read() -> None:
    """As perf prints it."""
    line = "PERF_RECORD_MMAP2 6/6: [0x7f04d0a000(0x2a000) @ 0x1000 fe:00 17 0]: r-xp /lib/libc.so.6"
    assert list(mapped([line])) == [(0x7F04D0A000, 0x2A000, 0x1000, "/lib/libc.so.6")]
