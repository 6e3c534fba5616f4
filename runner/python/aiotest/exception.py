"""The exceptions of a call, with aiohttp's names and hierarchy.

Where aiohttp is installed they are its own classes, so that `except aiohttp.ClientError` in a scenario
catches them; importing it takes about 0.2 s and 13 MB, once, before the first user starts. An exception of a
call that has been recorded carries `aiotest_recorded = True`.
"""

from __future__ import annotations

import errno
import re
import ssl
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__all__ = [
    "ClientConnectionError",
    "ClientConnectorCertificateError",
    "ClientConnectorDNSError",
    "ClientConnectorError",
    "ClientConnectorSSLError",
    "ClientError",
    "ClientHttpProxyError",
    "ClientOSError",
    "ClientPayloadError",
    "ClientProxyConnectionError",
    "ClientResponseError",
    "ClientSSLError",
    "ConnectionTimeoutError",
    "ContentTypeError",
    "InvalidURL",
    "ServerConnectionError",
    "ServerDisconnectedError",
    "ServerFingerprintMismatch",
    "ServerTimeoutError",
    "SocketTimeoutError",
    "TooManyRedirects",
    "WSMessageTypeError",
    "WSServerHandshakeError",
    "WebSocketError",
]

if TYPE_CHECKING or find_spec("aiohttp") is None:

    class ClientError(Exception):
        """Anything that went wrong with a call."""

    class ClientResponseError(ClientError):
        """A reply came, and it is not what was wanted."""

        def __init__(
            self,
            request_info: Any,
            history: tuple[Any, ...],
            *,
            status: int = 0,
            message: str = "",
            headers: Any = None,
        ) -> None:
            self.request_info = request_info
            self.history = history
            self.status = status
            self.message = message
            self.headers = headers
            super().__init__(request_info, history)

        def __str__(self) -> str:
            return f"{self.status}, message={self.message!r}, url={str(self.request_info.real_url)!r}"

    class ContentTypeError(ClientResponseError):
        """The reply has another content type than `json()` expects."""

    class WSServerHandshakeError(ClientResponseError):
        """The server's reply is no WebSocket's."""

    class WSMessageTypeError(TypeError):
        """A message is of another kind than was asked for."""

    class ClientHttpProxyError(ClientResponseError):
        """A proxy opens no tunnel; its `status` says why."""

    class TooManyRedirects(ClientResponseError):
        """More redirects than `max_redirects`, or one that leads nowhere."""

    class ClientConnectionError(ClientError):
        """The connection."""

    class WebSocketError(Exception):
        """What came breaks WebSocket's rules. `code`: a close says it by this."""

        def __init__(self, code: int, message: str) -> None:
            self.code = code
            super().__init__(code, message)

        def __str__(self) -> str:
            return str(self.args[1])

    class ClientOSError(ClientConnectionError, OSError):
        """The operating system's error of a connection."""

    class ClientConnectorError(ClientOSError):
        """No connection could be made."""

        def __init__(self, connection_key: Any, os_error: OSError) -> None:
            self._conn_key = connection_key
            self._os_error = os_error
            super().__init__(os_error.errno, os_error.strerror)
            self.args = (connection_key, os_error)

        @property
        def os_error(self) -> OSError:
            return self._os_error

        @property
        def host(self) -> str:
            return str(self._conn_key.host)

        @property
        def port(self) -> int | None:
            port: int | None = self._conn_key.port
            return port

        def __str__(self) -> str:
            return f"Cannot connect to host {self.host}:{self.port} [{self.strerror}]"

    class ClientConnectorDNSError(ClientConnectorError):
        """The name does not resolve."""

    class ClientProxyConnectionError(ClientConnectorError):
        """No connection to the proxy could be made."""

    class ClientSSLError(ClientConnectorError):
        """TLS."""

    class ClientConnectorSSLError(ClientSSLError):
        """TLS failed while connecting."""

    class ClientConnectorCertificateError(ClientSSLError, ssl.CertificateError):
        """The server's certificate cannot be accepted."""

        def __init__(self, connection_key: Any, certificate_error: Exception) -> None:
            self._conn_key = connection_key
            self._certificate_error = certificate_error
            self.args = (connection_key, certificate_error)

        @property
        def certificate_error(self) -> Exception:
            return self._certificate_error

        def __str__(self) -> str:
            return f"Cannot connect to host {self.host}:{self.port} [{self._certificate_error}]"

    class ServerConnectionError(ClientConnectionError):
        """The server's side of a connection."""

    class ServerDisconnectedError(ServerConnectionError):
        """The connection was closed before the reply."""

        def __init__(self, message: str = "Server disconnected") -> None:
            super().__init__(message)
            self.message = message

    class ServerFingerprintMismatch(ServerConnectionError):
        """The server's certificate is not the one that `aiohttp.Fingerprint` says."""

        def __init__(self, expected: bytes, got: bytes, host: str, port: int) -> None:
            self.expected = expected
            self.got = got
            self.host = host
            self.port = port
            super().__init__(expected, got, host, port)

    class ServerTimeoutError(ServerConnectionError, TimeoutError):
        """A limit of the call's `timeout` ran out."""

    class ConnectionTimeoutError(ServerTimeoutError):
        """No connection in time."""

    class SocketTimeoutError(ServerTimeoutError):
        """No byte in time."""

    class ClientPayloadError(ClientError):
        """The reply was cut in its body."""

    class InvalidURL(ClientError, ValueError):
        """No call can be made to that URL."""

        def __init__(self, url: Any, description: str | None = None) -> None:
            self._url = url
            self._description = description
            super().__init__(url, *([description] if description else []))

        @property
        def url(self) -> Any:
            return self._url

        @property
        def description(self) -> str | None:
            return self._description

        def __str__(self) -> str:
            return f"{self._url} - {self._description}" if self._description else str(self._url)

else:
    from aiohttp import WebSocketError
    from aiohttp import client_exceptions as _aiohttp

    ClientError = _aiohttp.ClientError
    ClientResponseError = _aiohttp.ClientResponseError
    ContentTypeError = _aiohttp.ContentTypeError
    ClientHttpProxyError = _aiohttp.ClientHttpProxyError
    TooManyRedirects = _aiohttp.TooManyRedirects
    WSServerHandshakeError = _aiohttp.WSServerHandshakeError
    ClientConnectionError = _aiohttp.ClientConnectionError
    ClientOSError = _aiohttp.ClientOSError
    ClientConnectorError = _aiohttp.ClientConnectorError
    ClientProxyConnectionError = _aiohttp.ClientProxyConnectionError
    ClientSSLError = _aiohttp.ClientSSLError
    ClientConnectorSSLError = _aiohttp.ClientConnectorSSLError
    ClientConnectorCertificateError = _aiohttp.ClientConnectorCertificateError
    ServerConnectionError = _aiohttp.ServerConnectionError
    ServerDisconnectedError = _aiohttp.ServerDisconnectedError
    ServerFingerprintMismatch = _aiohttp.ServerFingerprintMismatch
    ServerTimeoutError = _aiohttp.ServerTimeoutError
    ClientPayloadError = _aiohttp.ClientPayloadError
    InvalidURL = _aiohttp.InvalidURL
    # Younger than the rest.
    ClientConnectorDNSError = getattr(_aiohttp, "ClientConnectorDNSError", None) or type(
        "ClientConnectorDNSError", (ClientConnectorError,), {}
    )
    ConnectionTimeoutError = getattr(_aiohttp, "ConnectionTimeoutError", None) or type(
        "ConnectionTimeoutError", (ServerTimeoutError,), {}
    )
    WSMessageTypeError = getattr(_aiohttp, "WSMessageTypeError", TypeError)
    SocketTimeoutError = getattr(_aiohttp, "SocketTimeoutError", None) or type(
        "SocketTimeoutError", (ServerTimeoutError,), {}
    )


class _ConnectionKey:
    """What aiohttp's connector errors tell of where they led."""

    def __init__(self, host: str, port: int, is_ssl: bool) -> None:
        self.host = host
        self.port = port
        self.is_ssl = is_ssl
        self.ssl = is_ssl


_CONNECTOR = {
    "name_not_found": (ClientConnectorDNSError, errno.ENOENT),
    "refused": (ClientConnectorError, errno.ECONNREFUSED),
    "unreachable": (ClientConnectorError, errno.EHOSTUNREACH),
    "out_of_files": (ClientConnectorError, errno.EMFILE),
    "out_of_memory": (ClientConnectorError, errno.ENOBUFS),
    "tls": (ClientConnectorSSLError, errno.EPROTO),
    "proxy_unreachable": (ClientProxyConnectionError, errno.ECONNREFUSED),
}


def _of_failure(
    kind: str, text: str, request_info: Any, authority: tuple[str, int, bool], in_body: bool
) -> ClientError:
    """The exception of a call that the engine has recorded as failed; `kind` is the family of what went
    wrong, and `text` begins with the label that statistics count it by.
    """
    if kind == "connect_timeout":
        return ConnectionTimeoutError(text)
    if kind == "read_timeout":
        return SocketTimeoutError(text)
    if kind == "total_timeout":
        return ServerTimeoutError(text)
    if kind == "upload":
        return ClientConnectionError(text)
    if kind == "redirects":
        return TooManyRedirects(request_info, (), status=0, message=text)
    if in_body or kind == "payload":
        return ClientPayloadError(text)
    if kind == "certificate":
        return ClientConnectorCertificateError(_ConnectionKey(*authority), ssl.CertificateError(text))
    if kind == "fingerprint":
        expected, got = map(bytes.fromhex, re.findall(r"\b[0-9a-f]{64}\b", text))
        return ServerFingerprintMismatch(expected, got, *authority[:2])
    if kind == "proxy_refused":
        status, reason = text.split(": ", 2)[2].partition(" ")[::2]
        return ClientHttpProxyError(request_info, (), status=int(status), message=reason)
    if kind in _CONNECTOR:
        make, number = _CONNECTOR[kind]
        return make(_ConnectionKey(*authority), OSError(number, text))
    if kind == "closed":
        return ServerDisconnectedError(text)
    if kind == "no_http":
        return ClientResponseError(request_info, (), status=400, message=text)
    return ClientOSError(errno.ECONNRESET if kind == "reset" else None, text)


def _of_status(request_info: Any, status: int, reason: str, headers: Any) -> ClientResponseError:
    return ClientResponseError(request_info, (), status=status, message=reason, headers=headers)


def _of_content_type(request_info: Any, status: int, found: str, headers: Any) -> ContentTypeError:
    message = f"Attempt to decode JSON with unexpected mimetype: {found}"
    return ContentTypeError(request_info, (), status=status, message=message, headers=headers)
