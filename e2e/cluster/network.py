"""The bridge that joins the host with the nodes, and the addresses and routes on both sides of it.

The host's own tables are touched by nothing but routes that lead to the bridge and go with it; Services are
reached from the host through the first node's kube-proxy.
"""

from __future__ import annotations

from e2e.cluster import layout
from e2e.cluster.shell import CommandError, run


def create_bridge() -> None:
    """The bridge, with the host's address on it."""
    run("ip", "link", "add", layout.BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{layout.HOST_ADDRESS}/24", "dev", layout.BRIDGE)
    run("ip", "link", "set", layout.BRIDGE, "up")


def connect(number: int, pid: int, nodes: int) -> None:
    """Join the network namespace of process `pid` to the bridge as node `number` of so many."""
    port, address = _port(number), layout.node_address(number)
    run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "link", "set", port, "master", layout.BRIDGE, "up")
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip"]
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "route", "add", "default", "via", layout.HOST_ADDRESS)
    for other in range(1, nodes + 1):
        if other != number:
            run(*inside, "route", "add", layout.node_pods(other), "via", layout.node_address(other))
    run("ip", "route", "add", layout.node_pods(number), "via", address)
    if number == 1:
        run("ip", "route", "add", layout.SERVICES, "via", address)


def remove() -> None:
    """Take the bridge and what hangs on it away; a node's end of its cable goes with the node."""
    for link in (layout.BRIDGE, *(_port(number) for number in range(1, layout.MAX_NODES + 1))):
        if exists(link):
            try:
                run("ip", "link", "delete", link)
            except CommandError:
                # The kernel may be taking it away itself right now: with its node's namespace.
                if exists(link):
                    raise


def exists(link: str) -> bool:
    """Whether the host has this interface."""
    return f" {link}@" in (found := run("ip", "-o", "link")) or f" {link}:" in found


def _port(number: int) -> str:
    return f"aiotest-n{number}"
