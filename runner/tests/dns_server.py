"""A DNS server that says what a test has it say, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field

A, NAME_ERROR = 1, 3
SERVER = "127.0.0.77"
"""Where one listens, as `/etc/resolv.conf` of a test says."""


@dataclass
class Zone(asyncio.DatagramProtocol):
    """Names with their IPv4 addresses. What is not there does not exist; nothing has an IPv6 address."""

    addresses: dict[str, list[str]]
    ttl: int
    """Seconds."""
    silent: bool = False
    delay: float = 0.0
    """Seconds until it answers."""
    asked: list[str] = field(default_factory=list)
    """Names whose IPv4 addresses were asked for."""

    async def listen(self, address: str) -> None:
        """Answer at the usual port of an address."""
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, (address, 53))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        name, end = name_at(data, 12)
        (kind,) = struct.unpack_from("!H", data, end)
        if kind == A:
            self.asked.append(name)
        if self.silent:
            return
        found = self.addresses.get(name)
        records = [socket.inet_aton(each) for each in found or ()] if kind == A else []
        flags = 0x8180 | (NAME_ERROR if found is None else 0)
        answer = data[:2] + struct.pack("!5H", flags, 1, len(records), 0, 0) + data[12 : end + 4]
        for record in records:
            answer += struct.pack("!3HIH", 0xC00C, A, 1, self.ttl, len(record)) + record
        asyncio.get_running_loop().call_later(self.delay, self.transport.sendto, answer, addr)


def name_at(data: bytes, at: int) -> tuple[str, int]:
    """The name that begins there, and where it ends."""
    labels = []
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), at + 1
