"""Names by DNS: search domains, how long an answer holds, what is said of a name that nobody knows, and what
it takes beside the other phases of a call.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dns_server import SERVER
from test_differential import check

HERE = Path(__file__).parent
RESOLV_CONF = f"""\
nameserver {SERVER}
search shop.test prod.test
options ndots:2 timeout:1 attempts:2
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="another /etc/resolv.conf takes root")


def run(folder: Path, case: str, script: str = "names_run.py") -> dict[str, Any]:
    """What a script saw where DNS is the test's."""
    (folder / "resolv.conf").write_text(RESOLV_CONF)
    mount = f'mount --bind {folder / "resolv.conf"} /etc/resolv.conf && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    command += [sys.executable, str(HERE / script), case]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout)
    return seen


def test_an_answer_holds_for_its_time_to_live_and_all_its_addresses_are_used(tmp_path: Path) -> None:
    seen = run(tmp_path, "follow")
    before = seen["before"]
    assert set(before) == {"127.0.0.2", "127.0.0.3"}
    assert abs(before["127.0.0.2"] - before["127.0.0.3"]) <= 1
    assert set(seen["late"]) == {"127.0.0.4"}, "the old addresses are not used any more"
    assert seen["after"] < 2.0
    times = seen["asked"].count("api.prod.test")
    assert 2 <= times <= 4, "five seconds of two each"
    assert seen["asked"] == ["api.shop.test", "api.prod.test"] * times, "search domains in their order"


def test_a_name_of_no_time_to_live_is_asked_for_once_a_second(tmp_path: Path) -> None:
    seen = run(tmp_path, "no-time-to-live")
    assert seen["after"] < 1.2
    assert 4 <= seen["asked"].count("api.prod.test") <= 6


def test_a_name_that_nobody_knows_is_said_so(tmp_path: Path) -> None:
    seen = run(tmp_path, "unknown")
    assert "nobody" in seen["text"]
    assert {"nobody.shop.test", "nobody.prod.test", "nobody"} <= set(seen["asked"])


def test_servers_that_do_not_answer_are_waited_for_as_they_are_set_up(tmp_path: Path) -> None:
    seen = run(tmp_path, "silent")
    assert "`nobody`: no DNS server has answered" in seen["text"]
    assert 1.0 < seen["took"] < 10.0


def test_each_phase_of_a_call_takes_what_it_took(tmp_path: Path) -> None:
    """In milliseconds: DNS takes 100, the first byte 200, the rest 300."""
    seen = run(tmp_path, "phases")
    first, second = seen["first"], seen["second"]
    made = ["dns", "connect", "tls"]
    assert list(first) == [*made, "send", "wait", "receive", "all"]
    assert list(second) == ["queue", "dns", "send", "wait", "receive", "all"]
    # A machine that is late makes any of them longer; what belongs to one of them is never less.
    for took in (first, second):
        assert took["dns"] >= 100
        assert took["wait"] >= 200
        assert took["receive"] >= 300
        whole = sum(took.values()) - took["all"]
        assert took["all"] * 0.9 < whole <= took["all"] + 0.01, "nothing is in no phase, or in two"
    assert second["queue"] >= 500, "it waits for the connection of the first"
    assert 0 < first["connect"] < first["wait"]
    assert 0 < first["tls"] < first["wait"]


def test_names_redirects_between_them_and_their_cookies_are_as_with_aiohttp(tmp_path: Path) -> None:
    seen = run(tmp_path, "", "both_names_run.py")
    assert len(seen) == 9
    for what, (ours, theirs) in seen.items():
        check("names", what, ours, theirs)
    host, url, name = seen["a name in another script"][0]
    assert (host.split(":")[0], name) == ("xn--bcher-kva.test", "bücher.test"), url
