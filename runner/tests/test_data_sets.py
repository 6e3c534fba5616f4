"""What users see of data sets: who gets which row, who waits, and when a row is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiotest import DataExhausted, DataSet, data, data_sets
from hosting import Hosted, Recorder, hosted, in_loop, until


def prepared(folder: Path, rows: int = 3, **spec: Any) -> DataSet:
    """The data set `accounts` with the users u0, u1, …"""
    file = folder / "a.csv"
    file.write_text("user\n" + "".join(f"u{row}\n" for row in range(rows)))
    data_sets.prepare([{"name": "accounts", "file": str(file)} | spec])
    return data("accounts")


class Owner(Recorder):
    """Takes rows at its start, and notes them."""

    owned: ClassVar[list[str]]
    rows = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.owned = []

    async def on_start(self) -> None:
        for _ in range(self.rows):
            self.owned.append((await data("accounts").take())["user"])

    async def test_stay(self) -> None:
        await asyncio.sleep(3600)


def stands(it: Hosted) -> tuple[int, int, int]:
    """Users that wait, rows unused and taken, as last told."""
    _, waiting, unused, taken, _ = it.native.of("rows")[-1]
    return waiting, unused, taken


def given_back(it: Hosted) -> list[int]:
    return sorted(row for *_, rows in it.native.of("rows") for row in rows)


def test_a_user_waits_for_a_row_and_keeps_it_until_it_has_ended(tmp_path: Path) -> None:
    class TestOwner(Owner):
        async def on_stop(self) -> None:
            assert given_back(it) == []
            self.log.append("on_stop")

    prepared(tmp_path)
    it: Hosted

    async def story() -> None:
        nonlocal it
        async with hosted(TestOwner) as it:
            it.native.do(("start", 0, 2))
            await it.native.until(lambda: bool(it.native.of("rows")) and stands(it) == (2, 0, 0))
            it.native.do(("rows", 0, [(1, 2)]))
            await until(lambda: TestOwner.owned == ["u1"])
            it.native.do(("rows", 0, [(0, 1), (2, 3)]))
            await it.native.until(lambda: stands(it) == (0, 1, 2))
            assert TestOwner.owned == ["u1", "u0"]
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live.get(0) == 1)
            assert (TestOwner.log, given_back(it)) == (["on_stop"], [0])
            row = next(at for at, what in enumerate(it.native.told) if what[0] == "rows" and what[-1])
            assert row < it.native.told.index(("users", 0, 1, 0)), "the row first, then that its user ended"
            it.native.do(("recall", 0))
            await it.native.until(lambda: given_back(it) == [0, 2])
            assert stands(it) == (0, 0, 2)

    in_loop(story)


def test_a_dead_or_cancelled_user_gives_all_its_rows_back(tmp_path: Path) -> None:
    class TestDying(Owner):
        rows = 2

        async def test_stay(self) -> None:
            raise ValueError("no")

    class TestCut(Owner):
        rows = 1

    prepared(tmp_path)

    async def story() -> None:
        async with hosted(TestDying, TestCut) as it:
            it.native.do(("rows", 0, [(0, 3)]), ("start", 0, 1))
            await it.native.until(lambda: given_back(it) == [0, 1])
            it.native.do(("start", 1, 1))
            await until(lambda: bool(TestCut.owned))
            it.native.do(("stop_now",))
            await it.native.until(lambda: given_back(it) == [0, 1, 2])

    in_loop(story)


def test_a_user_that_is_let_go_while_it_waits_takes_no_row_with_it(tmp_path: Path) -> None:
    class TestOwner(Owner):
        pass

    prepared(tmp_path)

    async def story() -> None:
        async with hosted(TestOwner) as it:
            it.native.do(("start", 0, 1))
            await it.native.until(lambda: bool(it.native.of("rows")) and stands(it)[0] == 1)
            # Both at once: the row comes to somebody who is being cancelled.
            it.native.do(("rows", 0, [(0, 1)]), ("retire", 0, 1))
            await it.native.until(lambda: it.native.live.get(0) == 0)
            assert (stands(it), TestOwner.owned, given_back(it)) == ((0, 1, 0), [], [])

    in_loop(story)


def test_a_wait_with_a_timeout_ends_and_says_of_what(tmp_path: Path) -> None:
    said: list[str] = []

    class TestHasty(Recorder):
        async def test_take(self) -> None:
            try:
                await data("accounts").take(timeout=0.01)
            except TimeoutError as error:
                said.append(str(error))
            row = await data("accounts").take(timeout=5)
            said.append(row["user"])
            await asyncio.sleep(3600)

    prepared(tmp_path)

    async def story() -> None:
        async with hosted(TestHasty) as it:
            it.native.do(("start", 0, 1))
            await until(lambda: bool(said))
            it.native.do(("rows", 0, [(2, 3)]))
            await until(lambda: len(said) == 2)

    in_loop(story)
    assert said == ["no row of `accounts` was free within 0.01 s: it has 3, and all are in use", "u2"]


def test_who_waits_is_told_when_every_row_is_used(tmp_path: Path) -> None:
    class TestLate(Owner):
        pass

    prepared(tmp_path, at_end="Stop")

    async def story() -> None:
        async with hosted(TestLate) as it:
            it.native.do(("start", 0, 2))
            await it.native.until(lambda: bool(it.native.of("rows")) and stands(it)[0] == 2)
            it.native.do(("exhausted", 0))
            await it.native.until(lambda: it.native.dead.get(0) == 2)
            assert stands(it) == (0, 0, 0)
            (error, _) = [text for (text,) in it.native.of("user_error")]
            said = "DataExhausted: no row of `accounts` is left: it has 3, and all are in use (test_data_sets"
            assert error.startswith(said)

    in_loop(story)


def test_shared_rows_are_gone_through_by_each_process_in_the_files_order(tmp_path: Path) -> None:
    async def taken(times: int, **spec: Any) -> list[str]:
        rows = prepared(tmp_path, policy="Shared", **spec)
        data_sets.attach(Silent())
        return [(await rows.take())["user"] for _ in range(times)]

    assert asyncio.run(taken(7)) == ["u0", "u1", "u2", "u0", "u1", "u2", "u0"]
    with pytest.raises(DataExhausted, match="no row of `accounts` is left: it has 3, and all are used"):
        asyncio.run(taken(4, at_end="Stop"))


def test_sharded_rows_are_used_up_and_never_given_back(tmp_path: Path) -> None:
    class TestBuyer(Recorder):
        async def test_buy(self) -> None:
            self.log.append((await data("accounts").take())["user"])

    prepared(tmp_path, policy="Sharded")

    async def story() -> None:
        async with hosted(TestBuyer) as it:
            it.native.do(("rows", 0, [(0, 2)]), ("start", 0, 1))
            await it.native.until(lambda: bool(it.native.of("rows")) and stands(it) == (1, 0, 2))
            it.native.do(("retire", 0, 1))
            await it.native.until(lambda: it.native.live.get(0) == 0)
            assert (TestBuyer.log, given_back(it)) == (["u0", "u1", "on_stop"], [])

    in_loop(story)


class Silent:
    """Nobody who supplies anything."""

    def rows(self, set_index: int, waiting: int, unused: int, taken: int, given_back: Sequence[int]) -> None:
        """Nothing comes of it."""


def test_a_wrong_use_is_told(tmp_path: Path) -> None:
    async def take(rows: DataSet, seconds: Any = None) -> None:
        await rows.take(seconds)

    rows = prepared(tmp_path)
    with pytest.raises(RuntimeError, match="no run is on: rows of `accounts` are for users"):
        asyncio.run(take(rows))
    data_sets.attach(Silent())
    with pytest.raises(RuntimeError, match="a row of `accounts` is a user's: take it in `on_start` or a job"):
        asyncio.run(take(rows))
    with pytest.raises(TypeError, match="timeout must be a number of seconds, or None, not '3'"):
        asyncio.run(take(rows, "3"))
    with pytest.raises(LookupError, match="no data set is called 'acounts': there is `accounts`"):
        data("acounts")
    data_sets.prepare([])
    with pytest.raises(LookupError, match=r"there is none. A manifest has them in spec\.data"):
        data("accounts")


def test_users_that_wait_for_long_are_said_to_once(
    tmp_path: Path, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class TestOwner(Owner):
        pass

    monkeypatch.setattr(data_sets, "LONG", 0.01)
    prepared(tmp_path)

    async def story() -> None:
        async with hosted(TestOwner) as it:
            it.native.do(("start", 0, 3))
            await until(lambda: any("users have waited" in line for line in log_lines))
            it.native.do(("rows", 0, [(0, 3)]))
            await until(lambda: len(TestOwner.owned) == 3)

    in_loop(story)
    said = [line for line in log_lines if "users have waited" in line]
    text = "WARNING users have waited 0.01 s for a row of `accounts`: it has 3, and all are in use"
    assert said == [text]


def test_a_plan_tells_what_was_found_in_the_files(tmp_path: Path) -> None:
    prepared(tmp_path)
    file = str(tmp_path / "a.csv")
    (found,) = data_sets.prepare([{"name": "accounts", "file": file, "policy": "Sharded"}])
    assert (found["name"], found["policy"], found["rows"], len(found["hash"])) == (
        "accounts",
        "Sharded",
        3,
        16,
    )
    assert len(data("accounts")) == 3
