"""A name with several addresses: all of them are used alike, and one where nobody listens costs no call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def connections(folder: Path, addresses: list[str], listening: list[str]) -> dict[str, int]:
    """How many of twenty connections went to each listening address, of a name that has all `addresses`."""
    hosts = folder / "hosts"
    lines = [f"{address} many.test\n" for address in addresses]
    hosts.write_text("".join(lines))
    command = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
    command += [sys.executable, str(HERE / "addresses_run.py"), "many.test", *listening]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    counts: dict[str, int] = json.loads(ended.stdout)
    return counts


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="another /etc/hosts takes root")


def test_new_connections_go_to_every_address_in_turn(tmp_path: Path) -> None:
    all_of_them = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"]
    assert connections(tmp_path, all_of_them, all_of_them) == dict.fromkeys(all_of_them, 5)


def test_an_address_where_nobody_listens_is_passed_over(tmp_path: Path) -> None:
    counts = connections(tmp_path, ["127.0.0.2", "127.0.0.3"], ["127.0.0.3"])
    assert counts == {"127.0.0.3": 20}
