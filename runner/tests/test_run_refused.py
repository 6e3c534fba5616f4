"""What `aiotest run` refuses, how it says so, and that nothing is sent; and targets that are not there."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from example_target import Target, running_target
from manifest_run import READER, run, write_manifest

pytestmark = pytest.mark.timeout(60)

TWO_SHAPES = (
    READER
    + """
    from aiotest import LoadUserShape

    class TestOne(LoadUserShape):
        def tick(self):
            return None

    class TestOther(LoadUserShape):
        def tick(self):
            return None
"""
)


@pytest.fixture
def target() -> Iterator[Target]:
    with running_target() as started:
        yield started


def test_a_host_that_is_no_url_is_told_as_what_it_is(tmp_path: Path) -> None:
    ended = run(tmp_path, write_manifest(tmp_path, READER, host="localhost:8080"))
    assert (ended.code, ended.report) == (3, None), ended.err
    assert (
        "spec.host must be a URL that begins with http:// or https://, such as http://localhost:8080"
        in ended.err
    )
    script = READER.replace("wait_time", 'host = "localhost"; wait_time')
    (tmp_path / "class").mkdir()
    ended = run(tmp_path / "class", write_manifest(tmp_path / "class", script))
    assert (ended.code, ended.report) == (3, None), ended.err
    assert "aiotestfile.py:4: TestReader.host must be a URL" in ended.err


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("\n    class TestA(\n", "aiotestfile.py:2"),
        ("\n    import no_such_module_of_mine\n", "aiotestfile.py:2"),
        ("\n    from aiotest import User\n    1 / 0\n", "aiotestfile.py:3"),
        ("\n    from aiotest import User\n", "aiotestfile.py"),
        (TWO_SHAPES, "TestOther"),
    ],
    ids=["syntax error", "failing import", "error at the top", "no user class", "two shapes"],
)
def test_a_bad_script_is_told_with_its_place_and_nothing_is_sent(
    target: Target, tmp_path: Path, script: str, told: str
) -> None:
    ended = run(tmp_path, write_manifest(tmp_path, script, host=target.url))
    assert (ended.code, ended.report) == (3, None), ended.err
    assert told in ended.err
    assert "no request was sent" in ended.err
    assert ended.seconds < 5
    assert target.counts()["total"] == target.counts()["connections"]["accepted"] == 0


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"runers": 2}, "spec.runers"),
        ({"runners": "two"}, "spec.runners"),
        (
            {"load": {"shape": {}, "constant": {"users": 1, "spawnRate": 1, "duration": "1s"}}},
            "spec.load: exactly one",
        ),
        (
            {"load": {"constant": {"users": 1, "spawnRate": 1, "duration": "soon"}}},
            "spec.load.constant.duration",
        ),
        ({"thresholds": [{"expr": "p95 < fast"}]}, "spec.thresholds[0].expr"),
    ],
    ids=["unknown field", "wrong type", "two loads", "bad duration", "bad threshold"],
)
def test_a_bad_manifest_is_told_with_its_field_and_exits_64(
    target: Target, tmp_path: Path, change: dict[str, object], path: str
) -> None:
    ended = run(tmp_path, write_manifest(tmp_path, READER, **({"host": target.url} | change)))
    assert (ended.code, ended.report) == (64, None), ended.err
    assert path in ended.err
    assert target.counts()["connections"]["accepted"] == 0


def test_a_missing_map_or_key_is_no_run_and_names_what_is_there(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, READER, aiotestfile={"configMap": {"name": "reader", "key": "b.py"}})
    ended = run(tmp_path, manifest)
    assert (ended.code, ended.report) == (3, None)
    assert "ConfigMap `reader` has no key `b.py`; there is `aiotestfile.py`" in ended.err
    (manifest / "configmap.yaml").unlink()
    ended = run(tmp_path, manifest)
    assert ended.code == 3
    assert "there is no ConfigMap `reader` in " in ended.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "PATH"),
        (["/nowhere/at/all.yaml"], "/nowhere/at/all.yaml"),
        (["--users", "3", "x"], "--users"),
    ],
)
def test_a_command_line_that_cannot_be_used_exits_64(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "aiotest", "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 64
    assert told in done.stderr


def test_help_is_no_error() -> None:
    command = [sys.executable, "-m", "aiotest", "run", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert "--report-json" in done.stdout


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:9", "http://no-such-host.invalid"], ids=["refused", "unresolved"]
)
def test_a_target_that_is_not_there_is_counted_by_kind_and_fails_the_run(tmp_path: Path, host: str) -> None:
    ended = run(tmp_path, write_manifest(tmp_path, READER, host=host))
    assert (ended.code, ended.told["verdict"]["result"]) == (1, "Failed"), ended.err
    total = ended.told["total"]
    assert total["failures"] == total["requests"] > 20
    (error,) = ended.told["errors"]
    assert error["count"] == total["failures"]
    assert error["error"], error
    assert ended.told["user_errors"] == [], "the default loop goes on with the next job"


def test_a_file_finds_its_map_and_what_means_nothing_here_is_named(target: Target, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, READER, host=target.url, deadlines={"results": "1m"})
    (manifest / "service.yaml").write_text(
        textwrap.dedent("""
            apiVersion: v1
            kind: Service
            metadata: {name: shop}
        """)
    )
    ended = run(tmp_path, manifest)
    assert ended.code == 0, ended.err
    assert "spec.deadlines.results means nothing on this machine" in ended.err
    assert "skipped Service `shop`" in ended.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["total"]["sent"] == target.counts()["total"] > 0
