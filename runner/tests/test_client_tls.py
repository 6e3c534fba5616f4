"""TLS as calls and connectors ask for it, against real servers, and each beside aiohttp."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiotest import ClientSession, TCPConnector
from aiotest.exception import ClientConnectorCertificateError, ClientConnectorSSLError
from both_clients import both
from call_server import Recorded, Server
from certificates import Certificates, certificates
from command_line import free_port, run, write
from one_server import one_server

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:aiohttp",
        "ignore:verify_ssl",
        "ignore:ssl.OP_NO_",
        "ignore:ssl.TLSVersion",
    ),
]

Options = Callable[[Certificates], dict[str, Any]]


def context(change: Callable[[ssl.SSLContext], object], trusts: str = "authority") -> Options:
    """A call with a context that was changed."""

    def options(given: Certificates) -> dict[str, Any]:
        made = given.client(trusts)
        change(made)
        return {"ssl": made}

    return options


def set_to(**attributes: Any) -> Callable[[ssl.SSLContext], None]:
    """Sets attributes, in this order."""

    def change(made: ssl.SSLContext) -> None:
        for name, value in attributes.items():
            setattr(made, name, value)

    return change


def one_cipher(made: ssl.SSLContext) -> None:
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")


def from_text(given: Certificates) -> dict[str, Any]:
    return {"ssl": ssl.create_default_context(cadata=Path(given.path("authority.crt")).read_text())}


def from_bytes(given: Certificates) -> dict[str, Any]:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(Path(given.path("authority.crt")).read_text()))
    return {"ssl": made}


CALLS: dict[str, tuple[str, Options]] = {
    "the system's authorities": ("server", lambda given: {}),
    "true": ("server", lambda given: {"ssl": True}),
    "none": ("server", lambda given: {"ssl": None, "verify_ssl": None}),
    "false": ("server", lambda given: {"ssl": False}),
    "verify_ssl false": ("server", lambda given: {"verify_ssl": False}),
    "verify_ssl true": ("server", lambda given: {"verify_ssl": True}),
    "both": ("server", lambda given: {"verify_ssl": False, "ssl": given.client()}),
    "false at another host's": ("elsewhere", lambda given: {"ssl": False}),
    "no ssl at all": ("server", lambda given: {"ssl": "yes"}),
    "own authority": ("server", lambda given: {"ssl": given.client()}),
    "own authority as text": ("server", from_text),
    "own authority as bytes": ("server", from_bytes),
    "another authority": ("server", lambda given: {"ssl": given.client("stranger")}),
    "another host's": ("elsewhere", lambda given: {"ssl": given.client()}),
    "another host's, unlooked at": ("elsewhere", context(set_to(check_hostname=False))),
    "another authority, host unlooked at": ("server", context(set_to(check_hostname=False), "stranger")),
    "nobody verified": (
        "elsewhere",
        context(set_to(check_hostname=False, verify_mode=ssl.CERT_NONE), "stranger"),
    ),
    "optional": ("server", context(set_to(verify_mode=ssl.CERT_OPTIONAL))),
    "one that vouches for itself": ("alone", lambda given: {"ssl": given.client("alone")}),
    "another that vouches for itself": ("alone", lambda given: {"ssl": given.client()}),
    "fingerprint": ("alone", lambda given: {"ssl": aiohttp.Fingerprint(given.digest("alone.crt"))}),
    "another fingerprint": ("alone", lambda given: {"ssl": aiohttp.Fingerprint(b"\1" * 32)}),
    "1.2 only": ("server", context(set_to(maximum_version=ssl.TLSVersion.TLSv1_2))),
    "1.3 only": ("server", context(set_to(minimum_version=ssl.TLSVersion.TLSv1_3))),
    "a cipher": (
        "server",
        context(one_cipher),
    ),
    "an old context": ("server", lambda given: {"ssl": old_context()}),
}


def old_context() -> ssl.SSLContext:
    """As files of long ago have it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ssl.SSLContext(ssl.PROTOCOL_TLS)


async def status(session: Any, path: str = "/", **options: Any) -> int:
    """Of one call."""
    async with session.get(path, **options) as response:
        await response.read()
        return int(response.status)


def compare(server: Server, options: Options) -> tuple[Any, Any]:
    """What one call gives with our client and with aiohttp."""
    given = certificates()
    Recorded()

    async def story() -> tuple[Any, Any]:
        async with server:
            return await both(server, lambda session: status(session, **options(given)))

    return asyncio.run(story())


@pytest.mark.parametrize("case", CALLS)
def test_a_call_speaks_tls_as_it_is_told(case: str) -> None:
    name, options = CALLS[case]
    server = Server(certificates().server(name))
    ours, theirs = compare(server, options)
    assert ours == theirs
    assert Recorded().total("sent") == len(server.seen) / 2
    assert (ours == 200) == (len(server.seen) == 2)


@pytest.mark.parametrize("case", [case for case in CALLS if not case.startswith("verify_ssl true")])
def test_a_connector_speaks_tls_as_it_is_told(case: str) -> None:
    name, options = CALLS[case]
    given = certificates()

    async def story() -> list[Any]:
        outcomes: list[Any] = []
        async with Server(given.server(name)) as server:
            kinds: list[tuple[Any, Any]] = [
                (ClientSession, TCPConnector),
                (aiohttp.ClientSession, aiohttp.TCPConnector),
            ]
            for session, connector in kinds:
                try:
                    keywords = {k: v for k, v in options(given).items() if v is not None}
                    async with session(server.url, connector=connector(**keywords)) as made:
                        # A call that says nothing, or `True`, does what its connector does.
                        outcomes.append([await status(made), await status(made, ssl=True)])
                except (aiohttp.ClientError, ValueError, TypeError) as error:
                    outcomes.append(type(error).__name__)
        return outcomes

    ours, theirs = asyncio.run(story())
    assert ours == theirs


def test_a_connector_of_aiohttp_speaks_tls_as_it_was_told() -> None:
    given = certificates()

    async def story() -> None:
        async with Server(given.server()) as server:
            connector = aiohttp.TCPConnector(ssl=given.client())
            async with ClientSession(server.url, connector=connector) as session:
                assert await status(session) == 200
            await connector.close()
            async with ClientSession(server.url, connector=aiohttp.TCPConnector(ssl=False)) as session:
                assert await status(session) == 200
                with pytest.raises(ClientConnectorCertificateError):
                    await status(session, ssl=given.client("stranger"))

    asyncio.run(story())


# === client certificates ===

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def presents(given: Certificates, version: ssl.TLSVersion, *files: str) -> ssl.SSLContext:
    """A client's context with a certificate of its own, as files make it."""
    made = given.client()
    made.maximum_version = version
    made.load_cert_chain(*map(given.path, files))
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_certificate_is_shown_to_a_server_that_asks(version: ssl.TLSVersion) -> None:
    given = certificates()
    both_in_one = Path(given.path("both.pem"))
    both_in_one.write_text(
        Path(given.path("client.key")).read_text() + Path(given.path("client.crt")).read_text()
    )
    for files in (["client.crt", "client.key"], ["both.pem"]):
        server = Server(given.server(wants="authority"))
        ours, theirs = compare(server, lambda given, files=files: {"ssl": presents(given, version, *files)})  # type: ignore[misc]
        assert ours == theirs == 200
        assert Recorded().total("sent") == 1


@pytest.mark.parametrize("password", ["secret", b"secret", lambda: "secret"])
def test_a_client_key_may_be_encrypted(password: Any) -> None:
    def options(given: Certificates) -> dict[str, Any]:
        made = given.client()
        made.load_cert_chain(given.path("client.crt"), given.path("encrypted.key"), password)
        return {"ssl": made}

    ours, theirs = compare(Server(certificates().server(wants="authority")), options)
    assert ours == theirs == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("says_why", [True, False])
def test_a_server_that_wants_a_certificate_and_gets_none_has_a_failure_of_its_own(
    version: ssl.TLSVersion, says_why: bool
) -> None:
    given = certificates()
    without = given.client()
    without.maximum_version = version

    async def ask(url: str) -> None:
        async with ClientSession(url) as session:
            options: list[dict[str, Any]] = [{"ssl": without}, {"ssl": False}]
            for each in options:
                with pytest.raises(ClientConnectorSSLError, match="client certificate wanted"):
                    await status(session, **each)

    async def story() -> None:
        tls = given.server(wants="authority")
        if says_why:
            with one_server(tls) as strict:
                await ask(strict.url)
            assert not strict.counts
        else:
            # asyncio closes such a connection without a word.
            async with Server(tls) as server:
                await ask(server.url)
            assert server.seen == []

    Recorded()
    asyncio.run(story())
    recorded = Recorded()
    assert recorded.errors() == {"TLS: client certificate wanted by the server": 2}
    # In TLS 1.3 the request was on its way when the server refused, and was never read.
    assert recorded.total("sent") == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_that_the_server_does_not_accept_is_refused(version: ssl.TLSVersion) -> None:
    given = certificates()

    async def story() -> None:
        with one_server(given.server(wants="stranger")) as server:
            made = presents(given, version, "client.crt", "client.key")
            for kind in (ClientSession, aiohttp.ClientSession):
                async with kind(server.url) as session:
                    with pytest.raises(aiohttp.ClientOSError):
                        await status(session, ssl=made)
        assert not server.counts

    Recorded()
    asyncio.run(story())
    recorded = Recorded()
    assert recorded.errors() == {"TLS: refused by the server": 1}
    assert recorded.total("sent") == 0


def test_a_server_that_only_would_like_a_certificate_is_called_without_one() -> None:
    async def story() -> None:
        tls = certificates().server(wants="authority")
        tls.verify_mode = ssl.CERT_OPTIONAL
        async with Server(tls) as server, ClientSession(server.url) as session:
            made = certificates().client()
            assert await status(session, ssl=made) == 200
            server.handlers["/closes"] = closes
            # Whoever accepted it and closes later closes for another reason.
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await status(session, "/closes", ssl=made, timeout=5)

    async def closes(seen: object, writer: asyncio.StreamWriter) -> None:
        writer.close()

    asyncio.run(story())


# === what is kept apart ===


def test_no_connection_is_used_by_a_call_that_asks_for_other_tls() -> None:
    given = certificates()

    async def connections(session: Any, server: Server) -> list[int]:
        mine, same = given.client(), given.client()
        before = server.connections
        counts = []
        calls: list[dict[str, Any]] = [
            {"ssl": mine},
            {"ssl": mine},
            {"ssl": False},
            {"ssl": False},
            {"ssl": aiohttp.Fingerprint(given.digest("server.crt"))},
            {"ssl": mine},
            {"ssl": False},
            {"ssl": same},
        ]
        for options in calls:
            assert await status(session, **options) == 200
            counts.append(server.connections - before)
        with suppress(aiohttp.ClientConnectorCertificateError):
            await status(session, ssl=True)
            pytest.fail("a connection that was not verified was used")
        return counts

    async def story() -> None:
        async with Server(given.server()) as server:
            async with ClientSession(server.url) as session:
                ours = await connections(session, server)
            async with aiohttp.ClientSession(server.url) as theirs_session:
                theirs = await connections(theirs_session, server)
        assert ours[:-1] == theirs[:-1] == [1, 1, 2, 2, 3, 3, 3]
        # A context that says the same is the same to us; aiohttp looks at the object.
        assert (ours[-1], theirs[-1]) == (3, 4)

    asyncio.run(story())


def test_equal_contexts_for_every_call_share_a_connection() -> None:
    async def story() -> None:
        async with Server(certificates().server()) as server, ClientSession(server.url) as session:
            for _ in range(5):
                assert await status(session, ssl=certificates().client()) == 200
            assert server.connections == 1

    asyncio.run(story())


def test_sessions_of_tls_are_resumed_only_by_calls_with_the_same_settings() -> None:
    given = certificates()
    resumed = []

    async def story() -> None:
        server = Server(given.server())

        async def tell(seen: object, writer: asyncio.StreamWriter) -> None:
            resumed.append(writer.get_extra_info("ssl_object").session_reused)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        server.handlers["/it"] = tell
        async with server, ClientSession(server.url) as session:
            mine = given.client()
            for options in (mine, mine, False, False, mine):
                assert await status(session, "/it", ssl=options) == 200

    asyncio.run(story())
    assert resumed == [False, True, False, True, True]


def test_a_context_that_is_changed_counts_from_the_next_call_on() -> None:
    given = certificates()

    async def story() -> None:
        tls = given.server("elsewhere", wants="authority")
        async with Server(tls) as server, ClientSession(server.url) as session:
            made = given.client()
            with pytest.raises(ClientConnectorCertificateError, match="of another host"):
                await status(session, ssl=made)
            made.check_hostname = False
            with pytest.raises(ClientConnectorSSLError, match="certificate wanted"):
                await status(session, ssl=made)
            made.load_cert_chain(given.path("client.crt"), given.path("client.key"))
            assert await status(session, ssl=made) == 200

    asyncio.run(story())


# === what cannot be done ===


def with_lists(made: ssl.SSLContext) -> None:
    made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def with_old_versions(made: ssl.SSLContext) -> None:
    made.minimum_version, made.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


def with_an_old_cipher(made: ssl.SSLContext) -> None:
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers("AES128-SHA")


REFUSED: dict[str, Callable[[ssl.SSLContext], None]] = {
    "asks? .*revocation lists": with_lists,
    "no version and cipher of TLS 1.2 or 1.3": with_old_versions,
    r"no version and cipher of TLS 1\.2": with_an_old_cipher,
    "post_handshake_auth is not built": lambda made: setattr(made, "post_handshake_auth", True),
    "client key encrypted as long ago": lambda made: made.load_cert_chain(
        certificates().path("client.crt"), certificates().path("old.key"), "secret"
    ),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_context_that_asks_for_what_is_not_built_is_refused_by_name(text: str) -> None:
    made = certificates().client()
    REFUSED[text](made)

    async def story() -> None:
        async with ClientSession("https://127.0.0.1:9") as session:
            with pytest.raises(ValueError, match=f"ssl: the context.*{text}"):
                session.get("/", ssl=made)
            with pytest.raises(ValueError, match=f"ssl: the context.*{text}"):
                TCPConnector(ssl=made)

    asyncio.run(story())


def test_a_servers_context_and_no_context_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="ssl: the context is a server's"):
        TCPConnector(ssl=certificates().server())
    with pytest.raises(TypeError, match=r"ssl must be an ssl.SSLContext, True, False .* not int"):
        TCPConnector(ssl=7)  # type: ignore[arg-type]


def test_a_scenario_file_loads_its_certificate_as_ever(tmp_path: Path) -> None:
    given = certificates()
    source = f"""
        from ssl import create_default_context
        from aiotest import AsyncHttpUser

        tls = create_default_context(cafile={given.path("authority.crt")!r})
        tls.load_cert_chain({given.path("client.crt")!r}, {given.path("client.key")!r})

        class TestShop(AsyncHttpUser):
            wait_time = 0.02

            async def test_ok(self):
                async with self.session.get("/ok", ssl=tls) as resp:
                    assert (await resp.json())["ok"]
    """
    write(tmp_path, source)
    with one_server(given.server(wants="authority")) as server:
        port = free_port()
        code, output = run(
            "-H", server.url, "-u", 2, "-r", 10, "-t", "1s", "--prometheus-port", port, cwd=tmp_path
        )
    assert code == 0, output
    assert server.counts["/ok"] > 2
