"""What a scenario's `ssl.SSLContext` says, made ready for the engine, which speaks TLS itself.

A context tells most of itself, but neither the certificate and key that it was given nor the folders that it
looks for authorities in. So from `install` on the methods that load them note what they load. Nothing else of
a context changes: other libraries use it as ever. Start at [`settings_of`][].
"""

from __future__ import annotations

import ssl
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from aiotest._native import TlsSettings

__all__ = ["install", "settings_of"]


@dataclass
class _Loaded:
    """What was loaded into a context that it does not tell."""

    changes: int = 0
    authorities: list[bytes] = field(default_factory=list)
    """In DER."""
    system: bool = False
    identity: tuple[bytes, bytes, bytes | None] | None = None
    """Certificates and key, in PEM, and the key's password."""
    unreadable: str | None = None


_loaded: WeakKeyDictionary[ssl.SSLContext, _Loaded] = WeakKeyDictionary()
_made: WeakKeyDictionary[ssl.SSLContext, tuple[Any, TlsSettings]] = WeakKeyDictionary()
"""The settings by context, with the state that they were made of."""
_equal: WeakValueDictionary[Any, TlsSettings] = WeakValueDictionary()
"""The settings by all that they say: equal contexts share connections and memory."""
_recent: deque[TlsSettings] = deque(maxlen=16)
"""Those made last are kept, for scenarios that make an equal context for every call."""


def settings_of(given: Any) -> TlsSettings:
    """The settings of what was given as `ssl`: a context, or aiohttp's `Fingerprint`."""
    if isinstance(given, ssl.SSLContext):
        return _of_context(given)
    kind = getattr(sys.modules.get("aiohttp"), "Fingerprint", None)
    if kind is not None and isinstance(given, kind):
        return _interned({"fingerprint": given.fingerprint})
    raise TypeError(
        f"ssl must be an ssl.SSLContext, True, False or an aiohttp.Fingerprint, not {type(given).__name__}"
    )


def _of_context(context: ssl.SSLContext) -> TlsSettings:
    loaded = _loaded.get(context)
    state = (
        context.verify_mode,
        context.check_hostname,
        context.verify_flags,
        context.options,
        context.minimum_version,
        context.maximum_version,
        context.cert_store_stats()["x509"],
        loaded.changes if loaded else 0,
    )
    if (known := _made.get(context)) is not None and known[0] == state:
        return known[1]
    settings = _interned(_read(context, loaded or _Loaded()))
    _made[context] = state, settings
    return settings


def _interned(arguments: dict[str, Any]) -> TlsSettings:
    key = tuple(sorted((name, _frozen(value)) for name, value in arguments.items()))
    if (known := _equal.get(key)) is None:
        known = _equal[key] = TlsSettings(**arguments)
        _recent.append(known)
    return known


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _read(context: ssl.SSLContext, loaded: _Loaded) -> dict[str, Any]:
    """The arguments of `TlsSettings`."""
    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        raise ValueError("ssl: the context is a server's: make it with ssl.create_default_context()")
    if context.verify_flags & (ssl.VERIFY_CRL_CHECK_LEAF | ssl.VERIFY_CRL_CHECK_CHAIN):
        raise ValueError("ssl: the context's verify_flags ask for revocation lists, which are not looked at")
    if getattr(context, "post_handshake_auth", False):
        raise ValueError("ssl: the context's post_handshake_auth is not built")
    if loaded.unreadable:
        raise ValueError(f"ssl: the context has loaded what cannot be read again: {loaded.unreadable}")
    tls12, tls13 = (_allows(context, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
    arguments: dict[str, Any] = {
        "tls12": tls12,
        "tls13": tls13,
        "ciphers": sorted(cipher["id"] & 0xFFFF for cipher in context.get_ciphers()),
        "identity": loaded.identity,
    }
    if context.verify_mode is not ssl.CERT_NONE:
        own = {*context.get_ca_certs(binary_form=True), *loaded.authorities}
        arguments["authorities"] = sorted(own)
        arguments["system"] = loaded.system
        arguments["check_hostname"] = context.check_hostname
    return arguments


def _allows(context: ssl.SSLContext, version: ssl.TLSVersion) -> bool:
    switch = ssl.OP_NO_TLSv1_2 if version is ssl.TLSVersion.TLSv1_2 else ssl.OP_NO_TLSv1_3
    lowest, highest = context.minimum_version, context.maximum_version
    above = lowest is ssl.TLSVersion.MINIMUM_SUPPORTED or lowest <= version
    below = highest is ssl.TLSVersion.MAXIMUM_SUPPORTED or version <= highest
    return bool(above and below and not context.options & switch)


# === what contexts are given ===


def install() -> None:
    """Note what contexts load from now on."""
    for name, note in _NOTES.items():
        method = getattr(ssl.SSLContext, name)
        if not hasattr(method, "aiotest_notes"):
            setattr(ssl.SSLContext, name, _noting(method, note))


def _noting(method: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
    @wraps(method)
    def noting(self: ssl.SSLContext, *args: Any, **keywords: Any) -> Any:
        result = method(self, *args, **keywords)
        loaded = _loaded.setdefault(self, _Loaded())
        loaded.changes += 1
        try:
            note(loaded, *args, **keywords)
        except OSError as error:
            loaded.unreadable = str(error)
        return result

    noting.aiotest_notes = True  # type: ignore[attr-defined]
    return noting


def _note_chain(loaded: _Loaded, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
    chain = Path(certfile).read_bytes()
    key = Path(keyfile).read_bytes() if keyfile is not None else chain
    if b"ENCRYPTED" not in key:
        password = None
    elif callable(password):
        password = password()
    if isinstance(password, str):
        password = password.encode()
    loaded.identity = chain, key, None if password is None else bytes(password)


def _note_authorities(
    loaded: _Loaded, cafile: Any = None, capath: Any = None, cadata: str | bytes | None = None
) -> None:
    # The context tells of certificates with an authority's mark only.
    texts = [cadata] if isinstance(cadata, str) else []
    if cafile is not None:
        texts.append(Path(cafile).read_text("utf-8", "replace"))
    if capath is not None:
        # As OpenSSL finds them there: by the hash of their names.
        files = (path for path in sorted(Path(capath).iterdir()) if path.suffix[1:].isdigit())
        texts.extend(path.read_text("utf-8", "replace") for path in files)
    for text in texts:
        loaded.authorities.extend(_certificates(text))


def _certificates(text: str) -> list[bytes]:
    """Those in PEM, in DER; other things in a file are comments."""
    begin, end = ssl.PEM_HEADER, ssl.PEM_FOOTER
    parts = (part.partition(end)[0] for part in text.split(begin)[1:])
    return [ssl.PEM_cert_to_DER_cert(f"{begin}{part}{end}") for part in parts]


def _note_system(loaded: _Loaded) -> None:
    loaded.system = True


def _note_nothing(loaded: _Loaded, *_: Any) -> None:
    pass


_NOTES: dict[str, Callable[..., None]] = {
    "load_cert_chain": _note_chain,
    "load_verify_locations": _note_authorities,
    "set_default_verify_paths": _note_system,
    "set_ciphers": _note_nothing,
}
