"""The wheels of the runner's image: the package's, as `make install` built it, and its dependencies'.

They must be for the Python of the image's base, whichever Python this machine has.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib

from e2e.cluster import images, layout

WHEELS = layout.REPOSITORY / ".cache/static/wheels"
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")


def main() -> None:
    """Fill the folder anew."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    for wheel in (layout.REPOSITORY / ".cache/wheels").glob("*.whl"):
        shutil.copy(wheel, WHEELS)
    project = tomllib.loads((layout.REPOSITORY / "runner/pyproject.toml").read_text())["project"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    target = [f"--python-version={images.PYTHON}", "--only-binary=:all:", f"--dest={WHEELS}"]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    subprocess.run([*pip, *target, *project["dependencies"]], check=True)


if __name__ == "__main__":
    main()
