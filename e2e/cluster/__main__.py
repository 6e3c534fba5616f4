"""The command line: `python -m e2e.cluster up [--nodes N] | down | images | load | status | programs`."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from e2e.cluster import binaries, images, layout, lifecycle
from e2e.cluster.shell import ClusterError, CommandError, run, say


def main() -> int:
    """Do what is asked; the exit code."""
    arguments = _parser().parse_args()
    try:
        COMMANDS[arguments.command](arguments)
    except (ClusterError, CommandError, subprocess.CalledProcessError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring a cluster up, or find it up")
    up.add_argument("--nodes", type=int, default=1, help="how many nodes, 1 to 9")
    commands.add_parser("down", help="take it away without a trace")
    commands.add_parser("images", help="build the images of the tests, and print their archives")
    commands.add_parser("load", help="build them, and bring them to the cluster")
    commands.add_parser("status", help="succeed when a cluster is up")
    commands.add_parser("programs", help="print the folder of kubectl, helm and the cluster's own programs")
    return parser


def _up(arguments: argparse.Namespace) -> None:
    if (foreign := foreign_cluster()) is not None:
        run(binaries.directory() / "kubectl", "version")
        say(f"using the cluster of {foreign}; nothing is started")
        return
    lifecycle.up(arguments.nodes)


def _down(_arguments: argparse.Namespace) -> None:
    lifecycle.down()


def _images(_arguments: argparse.Namespace) -> None:
    for image in images.of_tests():
        print(f"{image.tag}\t{image.archive()}")


def _load(_arguments: argparse.Namespace) -> None:
    archives = [image.archive() for image in images.of_tests()]
    if foreign_cluster() is None:
        lifecycle.load(archives)
        return
    loader = os.environ.get("AIOTEST_LOAD_IMAGE")
    if loader is None:
        raise ClusterError(
            "set AIOTEST_LOAD_IMAGE to the command that brings an image's archive to your cluster, such as "
            "`kind load image-archive` or `minikube image load`; an empty one says that they are there"
        )
    for archive in archives if loader else []:
        subprocess.run([*shlex.split(loader), str(archive)], check=True)


def _programs(_arguments: argparse.Namespace) -> None:
    print(binaries.directory())


def _status(_arguments: argparse.Namespace) -> None:
    if foreign_cluster() is None:
        lifecycle.running()


def foreign_cluster() -> str | None:
    """The KUBECONFIG of a cluster that exists; None when ours is meant."""
    configured = os.environ.get("KUBECONFIG")
    if not configured:
        return None
    path = Path(configured)
    of_a_clone = path.parts[-3:] == layout.KUBECONFIG.parts[-3:]
    return None if of_a_clone or (path.exists() and layout.API_SERVER in path.read_text()) else configured


COMMANDS = {
    "up": _up,
    "down": _down,
    "images": _images,
    "load": _load,
    "status": _status,
    "programs": _programs,
}

if __name__ == "__main__":
    sys.exit(main())
