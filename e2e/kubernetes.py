"""kubectl, for tests: apply, read, and wait for what must come, with a deadline and without a sleep.

Start at `Namespace`. Never decides anything about the operator.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class KubectlError(AssertionError):
    """kubectl failed; the text has the command and what the cluster said."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl with its cluster, and maybe a namespace."""

    program: Path
    kubeconfig: Path
    namespace: str = ""

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        inside = [f"--namespace={self.namespace}"] if self.namespace else []
        return [str(self.program), f"--kubeconfig={self.kubeconfig}", *inside, *arguments]

    def tried(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it, whatever comes of it."""
        return subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, check=False
        )

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Its output; it must succeed."""
        done = self.tried(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise KubectlError(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
        return done.stdout

    def refusal(self, manifest: str | Json) -> str:
        """What the API server says against a manifest, which it must refuse."""
        done = self.tried("apply", "--filename=-", stdin=_text(manifest))
        if done.returncode == 0:
            raise KubectlError(f"the API server took what it must refuse: {done.stdout}")
        return done.stderr

    def apply(self, *manifests: str | Json | Path) -> None:
        """Apply YAML, objects, or files and folders of manifests."""
        for manifest in manifests:
            if isinstance(manifest, Path):
                self("apply", f"--filename={manifest}")
            else:
                self("apply", "--filename=-", stdin=_text(manifest))

    def get(self, kind: str, name: str) -> Json:
        """One object."""
        found: Json = json.loads(self("get", kind, name, "--output=json"))
        return found

    def list(self, kind: str, selector: str = "") -> list[Json]:
        """The objects of a kind, all or those with these labels."""
        found: list[Json] = json.loads(self("get", kind, f"--selector={selector}", "--output=json"))["items"]
        return found

    def wait(self, condition: str, *what: str, seconds: float) -> None:
        """`kubectl wait --for=CONDITION WHAT…`; fails after so many seconds."""
        self("wait", f"--for={condition}", f"--timeout={seconds}s", *what)

    def until(
        self, kind: str, holds: Callable[[Json], bool], *, name: str = "", selector: str = "", seconds: float
    ) -> Json:
        """Watch the objects of a kind until `holds` for one of them, and return that as it was then.

        Deleted objects come, too, in their last state. Fails after so many seconds, with the last state seen.
        """
        which = [name] if name else ([f"--selector={selector}"] if selector else [])
        command = self.command("get", kind, *which, "--watch", "--output=json")
        deadline = time.monotonic() + seconds
        last: Json = {}
        errors = ""
        # A watch may end early, as those of a kind do when its definition has just been made.
        while (left := deadline - time.monotonic()) > 0:
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as watching:
                alarm = threading.Timer(left, watching.kill)
                alarm.start()
                try:
                    for last in _objects(watching):
                        if holds(last):
                            return last
                finally:
                    alarm.cancel()
                    watching.kill()
                errors = watching.stderr.read() if watching.stderr else ""
        state = json.dumps(last, indent=1)
        raise KubectlError(
            f"waited {seconds} s in vain for {kind} {name or selector}; {errors}last seen:\n{state}"
        )

    def within(self, namespace: str) -> Kubectl:
        """The same in a namespace."""
        return Kubectl(self.program, self.kubeconfig, namespace)


def condition(thing: Json, kind: str) -> Json:
    """A condition out of an object's status; empty when it isn't there."""
    conditions: list[Json] = thing.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})


def _objects(watching: subprocess.Popen[str]) -> Iterator[Json]:
    """The JSON objects of a stream, each as soon as it is whole."""
    decoder, text = json.JSONDecoder(), ""
    assert watching.stdout is not None, "it is a pipe"
    for line in watching.stdout:
        text += line
        # kubectl writes an object over many lines, and closes it in the first column.
        if line.startswith("}"):
            found, end = decoder.raw_decode(text)
            text = text[end:].lstrip()
            yield found


def _text(manifest: str | Json) -> str:
    return manifest if isinstance(manifest, str) else json.dumps(manifest)
