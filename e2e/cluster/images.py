"""Container images from Dockerfiles, without a container engine or a registry, and into a node's containerd.

Base systems are unpacked by mmdebstrap from Debian's packages, images built by buildah in a plain chroot. An
image is built again when the contents of what goes into it have changed: its archive carries their hash in
its name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster import layout
from e2e.cluster.shell import run, say

FOLDER = layout.REPOSITORY / "e2e/images"
OWN = layout.REPOSITORY / ".cache/images"
KEPT = layout.BUILDS / "images"
DEBIAN = "bookworm"
# The version of `python3` in that Debian: the wheels of the runner's image must be for it.
PYTHON = "3.11"
# Nobody reads these in a container.
UNREAD = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")


@dataclass(frozen=True)
class Root:
    """A file system of Debian's packages. `extract` has nothing but them and what they depend on."""

    name: str
    variant: str
    packages: str

    def archive(self) -> Path:
        """Where it is kept; made when it isn't there."""
        found = hashlib.sha256(f"{self.variant} {self.packages} {DEBIAN} {UNREAD}".encode()).hexdigest()[:16]
        path = KEPT / f"root-{self.name}-{found}.tar"
        if not path.exists():
            say(f"unpacking Debian's {self.packages} for images (half a minute)")
            KEPT.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"unfinished-{path.name}")
            options = [f"--variant={self.variant}", f"--include={self.packages}"]
            options += [f"--dpkgopt=path-exclude={unread}" for unread in UNREAD]
            run("mmdebstrap", "--quiet", *options, DEBIAN, unfinished)
            unfinished.rename(path)
        return path


@dataclass(frozen=True)
class Image:
    """An image: its Dockerfile and the files beside it in the build's context, by their name there."""

    name: str
    dockerfile: Path
    files: dict[str, Path]
    base: Image | None = None
    kept: Path = field(default=KEPT)

    @property
    def tag(self) -> str:
        """What pods call it."""
        return f"localhost/{self.name}:dev"

    def key(self) -> str:
        """The hash of everything that goes into it."""
        found = hashlib.sha256(self.base.key().encode() if self.base else b"")
        for name, path in {"Dockerfile": self.dockerfile, **self.files}.items():
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                if file.is_file():
                    found.update(f"{name} {file.name} ".encode())
                    with file.open("rb") as content:
                        found.update(hashlib.file_digest(content, "sha256").digest())
        return found.hexdigest()[:16]

    def archive(self) -> Path:
        """Its archive, as `docker load` and `ctr images import` read it; built when it isn't there."""
        path = self.kept / f"{self.name}-{self.key()}.tar"
        if not path.exists():
            say(f"building the image {self.tag}")
            self.kept.mkdir(parents=True, exist_ok=True)
            self._build(path)
            for old in self.kept.glob(f"{self.name}-{'?' * 16}.tar"):
                if old != path and self.kept == OWN:
                    old.unlink()
        return path

    def _build(self, path: Path) -> None:
        unfinished = path.with_name(f"unfinished-{path.name}")
        unfinished.unlink(missing_ok=True)
        with _storage() as (buildah, scratch):
            context = scratch / "context"
            context.mkdir()
            for name, source in self.files.items():
                shutil.copytree(source, context / name) if source.is_dir() else shutil.copy(
                    source, context / name
                )
            arguments = []
            if self.base is not None:
                base = run(*buildah, "pull", "--quiet", f"docker-archive:{self.base.archive()}").strip()
                run(*buildah, "tag", base, self.base.tag)
                arguments = ["--build-arg", f"BASE={self.base.tag}", "--pull-never"]
            run(
                *(*buildah, "bud", "--quiet", "--isolation=chroot", *arguments, "--timestamp=0"),
                *("--file", self.dockerfile, "--tag", self.tag, context),
            )
            run(*buildah, "push", "--quiet", self.tag, f"docker-archive:{unfinished}:{self.tag}")
        unfinished.rename(path)


@contextmanager
def _storage() -> Iterator[tuple[list[str], Path]]:
    """buildah with a storage of its own, and a folder, both thrown away at the end."""
    with tempfile.TemporaryDirectory(prefix="aiotest-images-") as name:
        scratch = Path(name)
        places = [f"--root={scratch}/storage", f"--runroot={scratch}/run", "--storage-driver=overlay"]
        yield ["buildah", *places], scratch


def of_cluster(programs: Path) -> list[Image]:
    """What the cluster itself needs; `programs` is the folder of Go's programs."""
    program = FOLDER / "program.Dockerfile"
    pause = layout.BUILDS / "pause"
    source = FOLDER / "pause.c"
    if not pause.exists() or pause.stat().st_mtime < source.stat().st_mtime:
        run("cc", "-static", "-Os", "-s", "-o", pause, source)
    return [
        Image("pause", program, {"program": pause}),
        Image("coredns", program, {"program": programs / "coredns"}),
        Image("prometheus-operator", program, {"program": programs / "operator"}),
        Image(
            "prometheus-config-reloader",
            FOLDER / "prometheus-config-reloader.Dockerfile",
            {"program": programs / "prometheus-config-reloader"},
        ),
        Image("prometheus", program, {"program": programs / "prometheus"}),
    ]


def of_tests() -> list[Image]:
    """What the tests run: the operator and the runner as `make images` compiled them, and a target."""
    python = Image(
        "python",
        FOLDER / "python.Dockerfile",
        {"root.tar": Root("python", "minbase", "python3-venv,ca-certificates").archive()},
    )
    nginx = {
        "root.tar": Root("nginx", "extract", "nginx-light,coreutils,grep").archive(),
        "nginx.conf": FOLDER / "nginx.conf",
    }
    operator = {"aiotest-operator": layout.REPOSITORY / ".cache/static/aiotest-operator"}
    wheels = {"wheels": layout.REPOSITORY / ".cache/static/wheels"}
    return [
        Image("nginx", FOLDER / "nginx.Dockerfile", nginx),
        Image("aiotest-operator", layout.REPOSITORY / "operator/Dockerfile", operator, kept=OWN),
        Image("aiotest-runner", layout.REPOSITORY / "runner/Dockerfile", wheels, base=python, kept=OWN),
    ]


def load(archives: list[Path], into: list[Path]) -> None:
    """Bring archives to the nodes whose containerd listens on these sockets; what is there already stays."""
    for socket in into:
        loaded = socket.with_name("images")
        there = set(loaded.read_text().splitlines()) if loaded.exists() else set()
        for archive in archives:
            if str(archive) in there:
                continue
            say(f"loading {archive.name} into {socket.parent.name}")
            with archive.open("rb") as content:
                subprocess.run(
                    ["ctr", f"--address={socket}", "--namespace=k8s.io", "images", "import", "-"],
                    stdin=content,
                    stdout=subprocess.DEVNULL,
                    env=os.environ,
                    check=True,
                )
            # The same tag from another archive isn't there any more.
            name = archive.name.rpartition("-")[0]
            there = {path for path in there if Path(path).name.rpartition("-")[0] != name} | {str(archive)}
            loaded.write_text("\n".join(sorted(there)))
