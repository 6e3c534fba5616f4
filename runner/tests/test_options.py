"""The old command line, value by value."""

from __future__ import annotations

import argparse
import asyncio

import pytest
from aiotest import events
from aiotest.options import UsageError, file_of, own_words, parse, parse_own, run_time


def parsed(*argv: str) -> argparse.Namespace:
    return asyncio.run(parse(argv, "9.9"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("20", 20), ("20s", 20), ("3m", 180), ("1h20m", 4800), ("3h30m10s", 12610)]
)
def test_a_run_time_is_read_in_each_of_its_forms(text: str, seconds: int) -> None:
    assert run_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "1.5h", "20m1h", "1h20", "1d", "s", "3 m"])
def test_any_other_run_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 20, 20s, 3m or 1h20m"):
        run_time(text)


def test_every_flag_has_the_default_that_old_files_know() -> None:
    options = parsed()
    assert (options.aiotestfile, options.host, options.num_users, options.rate) == ("aiotestfile", "", 1, 1.0)
    assert (options.master, options.worker, options.expect_workers, options.run_time) == (
        False,
        False,
        1,
        None,
    )
    assert (options.master_host, options.master_port) == ("127.0.0.1", 5557)
    assert (options.master_bind_host, options.master_bind_port) == ("*", 5557)
    assert (options.prometheus_port, options.loglevel, options.logfile) == (8089, "INFO", None)
    assert options.buckets[:2] == [50, 100]
    assert options.show_users_wight is False


def test_a_rate_above_the_number_of_users_is_accepted() -> None:
    options = parsed("-u", "10", "-r", "200.5")
    assert (options.num_users, options.rate) == (10, 200.5)


def test_both_spellings_of_weight_are_accepted() -> None:
    assert parsed("--show-users-wight").show_users_wight
    assert parsed("--show-users-weight").show_users_wight


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-u", "0"], "argument -u/--users: `0` is not a whole number, 1 or more"),
        (["-u", "many"], "`many` is not a whole number"),
        (["-r", "0"], "argument -r/--rate: `0` is not a number of users a second above 0"),
        (["-r", "nan"], "`nan` is not a number"),
        (["-t", "soon"], "argument -t/--run-time: `soon` is no time"),
        (["-L", "loud"], "invalid choice: 'LOUD'"),
        (["--prometheus-port", "70000"], "`70000` is not a port"),
        (["-b", "0"], "`0` is not a whole number of milliseconds"),
        (["--master", "--worker"], "not allowed with argument"),
        (["--worker", "-t", "3m"], "give it to the master"),
        (["--worker", "--processes", "2"], "argument --processes"),
        (["--tenant=blue"], "unrecognized arguments: --tenant=blue"),
        (["--expect-workers", "-1"], "--expect-workers"),
    ],
)
def test_a_bad_value_is_refused_by_its_flag(argv: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parsed(*argv)


async def _add_tenant(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", default="red")


def test_the_files_own_options_are_parsed_beside_ours() -> None:
    events.init_command_line_parser += _add_tenant
    assert parsed("-u", "3", "--tenant=blue").tenant == "blue"


def test_a_manifests_args_hold_only_the_files_own_options() -> None:
    events.init_command_line_parser += _add_tenant
    options = asyncio.run(parse_own(["--tenant=blue"], "http://x", "9.9"))
    assert (options.tenant, options.host, options.num_users) == ("blue", "http://x", 1)
    with pytest.raises(UsageError, match="-u 3"):
        asyncio.run(parse_own(["-u", "3"], None, "9.9"))


def test_the_file_is_found_on_a_command_line_with_unknown_options() -> None:
    assert file_of(["--tenant=blue", "-f", "shop.py", "-u", "3"]) == "shop.py"
    assert file_of([]) == "aiotestfile"
    with pytest.raises(UsageError, match="-f"):
        file_of(["-f"])


def test_what_is_not_ours_is_left_for_the_files_own_options() -> None:
    assert own_words(["-u", "3", "--tenant=blue", "-f", "shop.py", "--deep"]) == ["--tenant=blue", "--deep"]
