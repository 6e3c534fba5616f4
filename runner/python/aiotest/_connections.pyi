"""How the native module's connections are made and shared. At run time this is in that module."""

from collections.abc import Coroutine, Sequence
from typing import Any, Self, final

from aiotest._arguments import TLS, Http2

__all__ = ["TCPConnector", "TlsSettings"]

@final
class TCPConnector:
    """Connections that all sessions made with it share, each session with cookies and headers of its own.

    They stay open when a session is closed, until the connector is, or nothing holds it any more.
    """

    def __new__(
        cls,
        *,
        limit: int = 100,
        limit_per_host: int = 0,
        force_close: bool = False,
        keepalive_timeout: float | None = None,
        ssl: TLS = None,
        verify_ssl: bool | None = None,
        http2: Http2 | None = None,
        local_addr: tuple[str, int] | Sequence[str] | None = None,
        use_dns_cache: bool | None = None,
        ttl_dns_cache: float | None = None,
        enable_cleanup_closed: bool | None = None,
    ) -> Self:
        """Open no connection yet.

        Arguments: `limit`, connections at most, to all hosts together, and `limit_per_host`, to each host and
            port, 0 for any number; a call that finds none free waits for its turn, in the phase `queue`, and
            its timeouts go on meanwhile; `force_close`, a new connection for each call; `keepalive_timeout`,
            seconds after which a connection without a call is closed, `None` to leave that to its server;
            `ssl` and `verify_ssl`, of calls that say nothing
            else: see `ClientSession.request`; `http2`, as a session's;
            `local_addr`, a pair of an address of this machine and a port (0 for any) that connections come
            from, or several addresses that they come from in turn, as one has some 28,000 ports to a target.
            The last three have no effect: names are resolved once for all connectors.
        Raises: `TypeError` naming an argument that is unknown; `ValueError` for a limit below 0, a
            `keepalive_timeout` below 0 or beside `force_close`, for an
            `ssl` context that asks for what is not built, or an `http2` that is none of its values.
        """

    @property
    def limit(self) -> int: ...
    @property
    def limit_per_host(self) -> int: ...
    @property
    def force_close(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    def close(self) -> Coroutine[Any, Any, None]:
        """Close the idle connections, and those in use once their calls have ended; cut calls that wait for
        one.
        """

@final
class TlsSettings:
    """How TLS is spoken, made ready once: what `aiotest.tls` makes of an `ssl.SSLContext`."""

    def __new__(
        cls,
        *,
        authorities: Sequence[bytes] | None = None,
        system: bool = False,
        check_hostname: bool = True,
        fingerprint: bytes | None = None,
        identity: tuple[bytes, bytes, bytes | None] | None = None,
        tls12: bool = True,
        tls13: bool = True,
        ciphers: Sequence[int] | None = None,
    ) -> Self:
        """Read the certificates and the key.

        Arguments: `authorities`, certificates in DER that are trusted, beside the system's with `system`,
            `None` to trust anybody; `check_hostname`, for their own host only; `fingerprint`, SHA-256 of the
            one certificate that is trusted instead; `identity`, a client's certificates, its key (both in
            PEM) and the password of that, if it has one; `tls12` and `tls13`, versions that may be spoken;
            `ciphers`, the codes of the suites that may be used, `None` for all.
        Raises: `ValueError` naming what cannot be done.
        """
