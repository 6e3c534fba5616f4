"""Calls through a proxy, and who they say they are, beside aiohttp. Sent is what the target was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiotest import ClientSession, TCPConnector
from aiotest.exception import ClientHttpProxyError, ClientProxyConnectionError
from both_clients import arrived, outcome
from call_server import Recorded, Server, reply
from certificates import certificates
from proxy_server import Proxy

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:aiohttp",
        "ignore:BasicAuth is deprecated",
        "ignore:The 'auth' parameter",
        "ignore:The 'proxy_auth' parameter",
    ),
]

AUTH = "Basic dXNlcjpwdw=="
OWN = {"user-agent", "accept-encoding", "accept"}
"""Headers that the two clients have of their own."""

Play = Callable[[Any, Server, Proxy], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _no_proxies_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)


def beside(
    play: Play,
    *,
    tls: bool = False,
    user: str | None = None,
    session: Callable[[Proxy], dict[str, Any]] = lambda proxy: {},
) -> list[Any]:
    """What `play` gives with our client and with aiohttp, each with what its proxy was sent."""

    async def story() -> list[Any]:
        found = []
        for kind in (ClientSession, aiohttp.ClientSession):
            Recorded()
            async with (
                Server(certificates().server() if tls else None) as server,
                Proxy(user) as proxy,
                kind(server.url, **session(proxy)) as made,
            ):
                told = await outcome(lambda made: play(made, server, proxy), made)
                heads = [
                    (line, {name: value for name, value in headers.items() if name not in OWN})
                    for line, headers in proxy.seen
                ]
                if kind is ClientSession:
                    assert Recorded().total("sent") == len(server.seen) + refused(proxy)
                found.append(generalised([told, heads, proxy.connections, server.connections], server, proxy))
        return found

    return asyncio.run(story())


def refused(proxy: Proxy) -> int:
    """Requests that the proxy answered itself: to a call they are requests like others."""
    if proxy.user is None:
        return 0
    return sum(
        not line.startswith("CONNECT") and headers.get("proxy-authorization") != proxy.user
        for line, headers in proxy.seen
    )


def generalised(found: Any, server: Server, proxy: Proxy) -> Any:
    """Without the ports, which differ from server to server."""
    return repr(found).replace(f":{server.port}", ":TARGET").replace(f":{proxy.port}", ":PROXY")


async def status(session: Any, path: str = "/", **options: Any) -> int:
    """Of one call."""
    if path.startswith("https") or str(getattr(session, "_base_url", "")).startswith("https"):
        options.setdefault("ssl", certificates().client())
    async with session.get(path, **options) as response:
        await response.read()
        return int(response.status)


PROXIED: dict[str, Callable[[str], dict[str, Any]]] = {
    "plain": lambda url: {"proxy": url},
    "user in the url": lambda url: {"proxy": url.replace("//", "//user:pw@")},
    "user beside it": lambda url: {"proxy": url, "proxy_auth": aiohttp.BasicAuth("user", "pw")},
    "both users": lambda url: {
        "proxy": url.replace("//", "//no:body@"),
        "proxy_auth": aiohttp.BasicAuth("user", "pw"),
    },
    "wrong user": lambda url: {"proxy": url, "proxy_auth": aiohttp.BasicAuth("no", "body")},
    "headers": lambda url: {"proxy": url, "proxy_headers": {"X-Way": "1"}},
    "no proxy but its user": lambda url: {"proxy_auth": aiohttp.BasicAuth("user", "pw")},
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("user", [None, AUTH], ids=["open", "closed"])
@pytest.mark.parametrize("case", PROXIED)
def test_a_call_through_a_proxy_is_the_same(case: str, user: str | None, tls: bool) -> None:
    secure: dict[str, Any] = {"ssl": certificates().client()} if tls else {}

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        # One behind the other: the second takes the connection of the first.
        return [await status(session, "/?a=b c", **PROXIED[case](proxy.url), **secure) for _ in range(2)]

    ours, theirs = beside(play, tls=tls, user=user)
    assert ours == theirs.replace("a=b+c", "a=b%20c")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_session_has_a_proxy_that_a_call_may_replace(tls: bool) -> None:
    secure: dict[str, Any] = {"ssl": certificates().client()} if tls else {}

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        return [
            await status(session, **secure),
            await status(session, proxy=proxy.url, **secure),
            await status(session, proxy_auth=aiohttp.BasicAuth("user", "other"), **secure),
        ]

    def session(proxy: Proxy) -> dict[str, Any]:
        return {"proxy": proxy.url, "proxy_auth": aiohttp.BasicAuth("user", "pw")}

    ours, theirs = beside(play, tls=tls, session=session)
    assert ours == theirs


def test_what_a_session_says_to_its_targets_it_does_not_say_to_proxies() -> None:
    """A difference on purpose: aiohttp opens a tunnel with the session's headers, its `Authorization` as if
    it were the proxy's.
    """

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        return await status(session, proxy=proxy.url, ssl=certificates().client())

    def session(proxy: Proxy) -> dict[str, Any]:
        return {"headers": {"Authorization": "Bearer secret", "X-Own": "1"}}

    ours, theirs = beside(play, tls=True, session=session)
    assert "CONNECT" in ours
    assert "secret" not in ours
    assert "x-own" not in ours
    assert "'proxy-authorization': 'Bearer secret'" in theirs


def test_connections_are_kept_by_proxy_and_target() -> None:
    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        counts = []
        async with Server() as other:
            for url, options in (
                (server.url, {"proxy": proxy.url}),
                (server.url, {"proxy": proxy.url}),
                (server.url, {}),
                (other.url, {"proxy": proxy.url}),
                (server.url, {"proxy": proxy.url, "proxy_auth": aiohttp.BasicAuth("a", "b")}),
                (server.url, {"proxy": proxy.url}),
                (server.url, {}),
            ):
                assert await status(session, f"{url}/", **options) == 200
                counts.append(proxy.connections)
            server.seen.extend(other.seen)
            proxy.seen.clear()
        return counts

    ours, theirs = beside(play)
    assert ours.startswith("[[1, 1, 1, 2, 3, 3, 3]")
    assert ours == theirs


def test_a_redirect_goes_through_the_proxy_as_well() -> None:
    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        async with Server(certificates().server()) as other:
            server.replies["/from"] = reply("302 Found", head=f"Location: {other.url}/to\r\n")
            other.replies["/to"] = reply(body=b"there")
            found = await status(
                session, "/from", proxy=proxy.url.replace("//", "//user:pw@"), ssl=certificates().client()
            )
            server.seen.extend(other.seen)
            proxy.seen = [
                (line.replace(str(other.port), "OTHER"), {n: v for n, v in headers.items() if n != "host"})
                for line, headers in proxy.seen
            ]
        return found

    ours, theirs = beside(play, user=AUTH)
    assert "CONNECT 127.0.0.1:OTHER" in ours
    assert ours == theirs


FAULTS: dict[str, tuple[bytes | None, str]] = {
    "502": (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "proxy: tunnel refused"),
    "403": (b"HTTP/1.1 403 No\r\n\r\n", "proxy: tunnel refused"),
    "407": (b"HTTP/1.1 407 Who\r\nContent-Length: 3\r\n\r\nwho", "proxy: authentication required"),
    "nothing": (b"", "proxy: connection closed before its reply"),
    "no http": (b"SSH-2.0-OpenSSH\r\n\r\n", "proxy: reply is no HTTP/1"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_proxy_that_opens_no_tunnel_is_a_failure_of_its_own(case: str) -> None:
    answer, label = FAULTS[case]

    async def story() -> None:
        Recorded()
        async with Server(certificates().server()) as server, Proxy() as proxy:
            proxy.answer = answer
            told: list[tuple[Any, ...]] = []
            for kind in (ClientSession, aiohttp.ClientSession):
                async with kind(server.url) as session:
                    with pytest.raises(aiohttp.ClientError) as raised:
                        await session.get("/", proxy=proxy.url, ssl=False)
                    error = raised.value
                    told.append((type(error), getattr(error, "status", None), getattr(error, "message", "")))
            assert server.connections == 0
        if case.isdigit():
            assert told[0] == told[1]
            assert told[0][0] is ClientHttpProxyError
        else:
            assert told[0][0] is told[1][0]
        recorded = Recorded()
        assert recorded.errors() == {label: 1}
        assert recorded.total("sent") == 0

    asyncio.run(story())


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_proxy_that_is_not_there_is_a_failure_of_its_own(tls: bool) -> None:
    async def story() -> None:
        Recorded()
        async with Proxy() as proxy:
            gone = proxy.url
        async with Server(certificates().server() if tls else None) as server:
            for kind in (ClientSession, aiohttp.ClientSession):
                async with kind(server.url) as session:
                    with pytest.raises(ClientProxyConnectionError) as raised:
                        await session.get("/", proxy=gone, ssl=False)
                    assert raised.value.port == int(gone.rpartition(":")[2])
        recorded = Recorded()
        assert recorded.errors() == {"proxy: no connection": 1}
        assert recorded.total("sent") == 0

    asyncio.run(story())


def test_the_times_of_a_tunnel_are_in_the_phases_and_a_call_in_one_can_time_out() -> None:
    async def story() -> None:
        Recorded()
        async with Server(certificates().server()) as server, Proxy() as proxy:
            async with ClientSession(server.url) as session:
                assert await status(session, proxy=proxy.url, ssl=certificates().client()) == 200
            proxy.silent = True
            async with ClientSession(server.url) as session:
                with pytest.raises(aiohttp.ServerTimeoutError):
                    await session.get("/", name="silent", proxy=proxy.url, timeout=0.1)
        recorded = Recorded()
        phases = dict(recorded.row("/")["phases"])
        assert {"connect", "tls"} <= phases.keys()
        assert recorded.row("silent")["errors"] == {"timeout: total time over": 1}

    asyncio.run(story())


def test_a_connector_limits_connections_through_a_proxy_too() -> None:
    async def story() -> None:
        async with Server(certificates().server()) as server, Proxy() as proxy:
            connector = TCPConnector(limit=2, ssl=certificates().client())
            sessions = [ClientSession(server.url, connector=connector, proxy=proxy.url) for _ in range(8)]
            assert await asyncio.gather(*(status(session, ssl=True) for session in sessions)) == [200] * 8
            assert (proxy.connections, server.connections) == (2, 2)
            await connector.close()

    asyncio.run(story())


def test_proxies_that_are_not_built_are_named() -> None:
    async def story() -> None:
        async with ClientSession("http://127.0.0.1:9") as session:
            for scheme in ("https", "socks5"):
                with pytest.raises(ValueError, match=f"proxy: `{scheme}` proxies are not built"):
                    session.get("/", proxy=f"{scheme}://127.0.0.1:1")
            with pytest.raises(aiohttp.InvalidURL, match="proxy: `127"):
                session.get("/", proxy="127.0.0.1/x")
            with pytest.raises(TypeError, match="proxy_auth must be a pair"):
                session.get("/", proxy="http://127.0.0.1:1", proxy_auth=7)  # type: ignore[arg-type]

    asyncio.run(story())


# === the environment ===


@pytest.mark.parametrize("trusts", [True, False])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_the_environment_names_proxies_to_sessions_that_trust_it(
    tls: bool, trusts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def session(proxy: Proxy) -> dict[str, Any]:
        monkeypatch.setenv("https_proxy" if tls else "http_proxy", proxy.url.replace("//", "//user:pw@"))
        return {"trust_env": trusts}

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        return await status(session, ssl=certificates().client())

    ours, theirs = beside(play, tls=tls, user=AUTH, session=session)
    assert ("Proxy" in ours or "proxy-authorization" in ours) == trusts
    assert ours == theirs


@pytest.mark.parametrize("without", ["127.0.0.1", "*", "example.org, .0.0.1", "127.0.0.10", "0.1"])
def test_the_environment_names_hosts_without_a_proxy(without: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def session(proxy: Proxy) -> dict[str, Any]:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", without)
        return {"trust_env": True}

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        return await status(session)

    ours, theirs = beside(play, session=session)
    assert ours == theirs


def test_a_call_knows_better_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def session(proxy: Proxy) -> dict[str, Any]:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        return {"trust_env": True}

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        return await status(session, proxy=proxy.url)

    ours, theirs = beside(play, session=session)
    assert ours.startswith("[200, [('GET http://")
    assert ours == theirs


@pytest.mark.parametrize("place", ["home", "NETRC"])
def test_the_netrc_file_tells_users_by_host(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / (".netrc" if place == "home" else "users")
    file.write_text("machine 127.0.0.1 login me password secret\ndefault login any password one\n")
    file.chmod(0o600)
    if place == "NETRC":
        monkeypatch.setenv("NETRC", str(file))

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        seen = await arrived(session.get("/echo"))
        given = await arrived(session.get("/echo", auth=aiohttp.BasicAuth("a", "b")))
        host = await arrived(session.get(f"http://localhost:{server.port}/echo"))
        server.replies["/from"] = reply(
            "302 Found", head=f"Location: http://localhost:{server.port}/echo\r\n"
        )
        redirected = await arrived(session.get("/from"))
        return [each["headers"].get("authorization") for each in (seen, given, host, redirected)]

    ours, theirs = beside(play, session=lambda proxy: {"trust_env": True})
    assert "Basic bWU6c2VjcmV0" in ours
    assert ours == theirs


def test_what_cannot_be_read_is_said_once_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log_lines: list[str]
) -> None:
    (tmp_path / ".netrc").write_text("machine")
    monkeypatch.setenv("https_proxy", "https://127.0.0.1:1")

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        return await status(session)

    ours, theirs = beside(play, session=lambda proxy: {"trust_env": True})
    assert ours == theirs
    beside(play, session=lambda proxy: {"trust_env": True})
    for text in ("netrc file cannot be used", "https_proxy: `https` proxies are not built"):
        assert sum(text in line for line in log_lines) == 1


# === a user in the URL ===


@pytest.mark.parametrize("user", ["user:pw@", "us%40er:p%3Aw@", "alone@", ":pw@", "g%C3%BCn:%C3%A4@"])
def test_a_user_in_a_url_is_who_the_call_says_it_is(user: str) -> None:
    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        url = server.url.replace("//", f"//{user}") + "/echo?x=1"
        async with session.get(url, params={"y": "2"}) as response:
            seen = await response.json()
        return seen["headers"].get("authorization"), seen["path"], str(response.url)

    ours, theirs = beside(play)
    assert "Basic " in ours
    assert ours == theirs


def test_a_user_in_the_base_url_is_that_of_every_relative_url() -> None:
    async def story() -> None:
        async with Server() as server:
            base = server.url.replace("//", "//user:pw@")
            told = []
            for kind in (ClientSession, aiohttp.ClientSession):
                async with kind(base) as session:
                    calls = [session.get("/echo"), session.get(f"{server.url}/echo"), session.get("echo")]
                    told.append([(await arrived(call))["headers"].get("authorization") for call in calls])
            assert told[0] == told[1] == [AUTH, None, AUTH]

    asyncio.run(story())


def test_a_user_in_a_url_is_not_given_twice() -> None:
    twice: list[dict[str, Any]] = [{"auth": aiohttp.BasicAuth("a", "b")}, {"headers": {"Authorization": "x"}}]

    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        url = server.url.replace("//", "//user:pw@") + "/echo"
        told = []
        for options in twice:
            with pytest.raises(ValueError, match=r"(?i)auth"):
                await arrived(session.get(url, **options))
            told.append(len(server.seen))
        return told

    ours, theirs = beside(play)
    assert ours.startswith("[[0, 0], ")
    assert ours == theirs


def test_a_redirect_to_a_url_with_a_user_says_who_it_is() -> None:
    async def play(session: Any, server: Server, proxy: Proxy) -> Any:
        to = f"http://user:pw@localhost:{server.port}/echo"
        server.replies["/from"] = reply("302 Found", head=f"Location: {to}\r\n")
        server.replies["/same"] = reply(
            "302 Found", head=f"Location: {server.url.replace('//', '//c:d@')}/echo\r\n"
        )
        told = [await arrived(session.get(path)) for path in ("/from", "/same")]
        return [each["headers"].get("authorization") for each in told]

    ours, theirs = beside(play)
    assert AUTH in ours
    assert ours == theirs
