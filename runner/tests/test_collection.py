"""What a scenario file must hold, and how a bad one is refused."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from aiotest.collection import AiotestfileError, Collected, collect, find_file


def collected(folder: Path, source: str) -> Collected:
    path = folder / "scenario_of_a_test.py"
    path.write_text(textwrap.dedent(source))
    return collect(str(path))


def refusal(folder: Path, source: str) -> str:
    with pytest.raises(AiotestfileError) as raised:
        collected(folder, source)
    return str(raised.value).replace(str(folder.resolve()) + "/", "")


def names(found: Collected) -> list[str]:
    return [cls.__name__ for cls in found.user_classes]


def jobs(found: Collected) -> list[str]:
    return [job.__name__ for job in found.user_classes[0].jobs]


ONE_JOB = "\n    async def test_it(self): pass\n"


# === which classes ===


def test_classes_whose_name_starts_or_ends_with_test_are_collected_in_order(tmp_path: Path) -> None:
    source = f"""
from aiotest import User, AsyncHttpUser
class TestB(User):{ONE_JOB}
class Base(AsyncHttpUser):{ONE_JOB}
class ShopTest(Base): pass
class TestNothing: pass
Alias = TestB
"""
    assert names(collected(tmp_path, source)) == ["TestB", "ShopTest"]


def test_a_class_imported_from_a_sibling_counts(tmp_path: Path) -> None:
    (tmp_path / "sibling_of_a_test.py").write_text(
        f"from aiotest import User\nclass TestSibling(User):{ONE_JOB}"
    )
    assert names(collected(tmp_path, "from sibling_of_a_test import TestSibling")) == ["TestSibling"]


def test_weight_0_disables_a_class_with_a_log_line(tmp_path: Path, log_lines: list[str]) -> None:
    source = f"""
from aiotest import User
class TestA(User):
    weight = 0{ONE_JOB}
class TestB(User):
    weight = 3{ONE_JOB}
"""
    found = collected(tmp_path, source)
    assert found.weights == [("TestB", 3)]
    assert "INFO TestA has weight 0: none of its users will run" in log_lines


def test_the_host_given_wins_over_the_host_of_the_class(tmp_path: Path) -> None:
    source = f"from aiotest import AsyncHttpUser\nclass TestA(AsyncHttpUser):\n    host = 'http://a'{ONE_JOB}"
    found = collected(tmp_path, source)
    found.aim_at("")
    assert found.user_classes[0].host == "http://a"
    found.aim_at("http://b")
    assert found.user_classes[0].host == "http://b"


# === which jobs ===


def test_jobs_are_the_coroutines_named_test_in_definition_order(tmp_path: Path) -> None:
    source = """
from aiotest import User
class TestA(User):
    async def test_b(self): pass
    async def helper(self): pass
    async def test_a(self): pass
    async def last_test(self): pass
    test_data = [1, 2]
"""
    assert jobs(collected(tmp_path, source)) == ["test_b", "test_a", "last_test"]


def test_a_class_without_jobs_takes_those_of_the_nearest_base_that_has_some(tmp_path: Path) -> None:
    source = """
from aiotest import User
class Far(User):
    async def test_far(self): pass
class Near(Far):
    async def test_near(self): pass
class Nearest(Near): pass
class TestA(Nearest): pass
"""
    assert jobs(collected(tmp_path, source)) == ["test_near"]


def test_a_mixin_that_is_no_user_gives_its_jobs(tmp_path: Path) -> None:
    source = """
from aiotest import User
class Jobs:
    async def test_mixed_in(self): pass
class TestA(Jobs, User): pass
"""
    assert jobs(collected(tmp_path, source)) == ["test_mixed_in"]


def test_a_wrapped_coroutine_is_a_job(tmp_path: Path) -> None:
    source = """
import functools
from aiotest import User
def logged(f):
    @functools.wraps(f)
    def inner(*args):
        return f(*args)
    return inner
class TestA(User):
    @logged
    async def test_wrapped(self): pass
"""
    assert jobs(collected(tmp_path, source)) == ["test_wrapped"]


def test_a_decorator_may_give_a_job_more_than_the_user(tmp_path: Path) -> None:
    source = """
import functools
from aiotest import User
def with_page(f):
    @functools.wraps(f)
    async def inner(self):
        return await f(self, 3)
    return inner
class TestA(User):
    @with_page
    async def test_page(self, page): pass
"""
    assert jobs(collected(tmp_path, source)) == ["test_page"]


# === the shape ===


def test_the_shape_is_made_once(tmp_path: Path) -> None:
    source = f"""
from aiotest import User, LoadUserShape
class TestA(User):{ONE_JOB}
class Steps(LoadUserShape): pass
class StepsTest(Steps):
    def tick(self): return None
"""
    shape = collected(tmp_path, source).shape
    assert type(shape).__name__ == "StepsTest"


def test_a_shape_that_is_not_named_test_is_left_out_with_a_warning(
    tmp_path: Path, log_lines: list[str]
) -> None:
    source = f"""
from aiotest import User, LoadUserShape
class TestA(User):{ONE_JOB}
class Steps(LoadUserShape):
    def tick(self): return None
"""
    assert collected(tmp_path, source).shape is None
    assert any(line.startswith("WARNING Steps is no shape of this run") for line in log_lines)


# === what is refused, and where ===


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\ndef f(:\n", "scenario_of_a_test.py:2: syntax error: "),
        ("\nimport no_such_module_here\n", "scenario_of_a_test.py:2: failed to import: ModuleNotFoundError"),
        (
            "def f():\n    return 1 / 0\n\nf()\n",
            "scenario_of_a_test.py:2: failed to import: ZeroDivisionError",
        ),
        ("\nraise SystemExit(3)\n", "scenario_of_a_test.py:2: failed to import: SystemExit: 3"),
        ("x = 1\n", "scenario_of_a_test.py:1: no user class"),
        (
            f"from aiotest import User\n\nclass Shop(User):{ONE_JOB}",
            "scenario_of_a_test.py:3: no user class: the name of Shop neither starts nor ends with `Test`",
        ),
        (
            "from aiotest import User\nclass TestA(User):\n    pass\n",
            "scenario_of_a_test.py:2: TestA has no job",
        ),
        (
            f"from aiotest import User\nclass TestA(User):\n    weight = -1{ONE_JOB}",
            "scenario_of_a_test.py:2: TestA.weight must be a whole number",
        ),
        (
            f"from aiotest import User\nclass TestA(User):\n    weight = 1.5{ONE_JOB}",
            "scenario_of_a_test.py:2: TestA.weight must be a whole number, 0 or more",
        ),
        (
            f"from aiotest import User\nclass TestA(User):\n    weight = 0{ONE_JOB}",
            "scenario_of_a_test.py:2: every user class has weight 0",
        ),
        (
            f"from aiotest import User\nclass TestA(User):\n    wait_time = float('nan'){ONE_JOB}",
            "scenario_of_a_test.py:2: TestA.wait_time must be a number of seconds",
        ),
        (
            f"from aiotest import User\nclass TestA(User):{ONE_JOB}    def test_b(self): pass\n",
            "scenario_of_a_test.py:4: TestA.test_b is named like a job, but is no coroutine",
        ),
        (
            f"from aiotest import User\nclass TestA(User):\n    def on_start(self): pass{ONE_JOB}",
            "scenario_of_a_test.py:3: TestA.on_start must be `async def`",
        ),
        (
            f"from aiotest import User\nclass TestA(User):\n    jobs = 3{ONE_JOB}",
            "scenario_of_a_test.py:2: TestA.jobs must be a list of coroutine functions, not 3",
        ),
        (
            f"""from aiotest import User, LoadUserShape
class TestA(User):{ONE_JOB}
class TestOne(LoadUserShape):
    def tick(self): return None
class TestTwo(LoadUserShape):
    def tick(self): return None
""",
            "scenario_of_a_test.py:7: TestOne and TestTwo are both shapes: a file may have one",
        ),
        (
            f"from aiotest import *\nclass TestA(User):{ONE_JOB}class TestB(LoadUserShape): pass\n",
            "scenario_of_a_test.py:4: TestB has no `tick` method",
        ),
    ],
)
def test_a_bad_file_is_refused_with_file_and_line(tmp_path: Path, source: str, says: str) -> None:
    assert refusal(tmp_path, source).startswith(says)


def test_a_syntax_error_in_a_sibling_is_told_at_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "broken_sibling_of_a_test.py").write_text("\n\nclass :\n")
    assert refusal(tmp_path, "import broken_sibling_of_a_test").startswith(
        "broken_sibling_of_a_test.py:3: syntax error: "
    )


# === finding it ===


def test_the_file_is_found_with_and_without_its_py(tmp_path: Path) -> None:
    path = tmp_path / "my.load.py"
    path.touch()
    assert find_file(str(path)) == path
    assert find_file(str(tmp_path / "my.load")) == path


def test_a_missing_file_is_told_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(AiotestfileError, match=r"absent\.py: no such file"):
        find_file(str(tmp_path / "absent"))
