"""The command lines of the benchmark and of its program."""

from __future__ import annotations

from typing import Any

import pytest
import users
from cases import CASES
from run import PROGRAMS, arguments


def test_without_a_case_all_are_measured() -> None:
    assert set(arguments([]).cases) == {*(case.name for case in CASES), "shares", *PROGRAMS}
    assert arguments(["gather", "users"]).cases == ["gather", "users"]
    assert users.arguments([]).cases == ["a", "b", "c", "d"]
    assert users.arguments(["c"]).cases == ["c"]


@pytest.mark.parametrize("read", [arguments, users.arguments])
def test_a_case_that_is_none_is_named(read: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read(["a" if read is users.arguments else "gather", "nonsense"])
    assert ended.value.code == 2
    assert "no such case: nonsense" in capsys.readouterr().err
