"""The benchmark's own command line."""

from __future__ import annotations

import pytest
from cases import CASES
from run import PROGRAMS, arguments


def test_without_a_case_all_are_measured() -> None:
    assert set(arguments([]).cases) == {*(case.name for case in CASES), "shares", *PROGRAMS}
    assert arguments(["gather", "users"]).cases == ["gather", "users"]


def test_a_case_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(["gather", "nonsense"])
    assert ended.value.code == 2
    assert "no such case: nonsense" in capsys.readouterr().err
