"""Values are all described, all used, all in the chart's README, and nothing else is taken."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rendering import (
    CHART,
    MONITORING,
    default_values,
    leaves,
    refusal,
    render,
    text,
    unknown_fields,
    values_used,
)

Schema = dict[str, Any]
README = CHART / "README.md"


def schema() -> Schema:
    """values.schema.json."""
    parsed: Schema = json.loads((CHART / "values.schema.json").read_text())
    return parsed


def described(of: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every value that the schema has, inner nodes included."""
    for name, child in of.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, child
        yield from described(child, here)


def description(path: str) -> str:
    """What the schema says of a value."""
    return str(dict(described(schema()))[path]["description"])


def test_every_value_is_in_the_schema_and_the_schema_has_no_other() -> None:
    known = dict(described(schema()))
    values = leaves(default_values())
    assert values.keys() <= known.keys()
    inner = {path.rsplit(".", depth)[0] for path in values for depth in range(1, 4)}
    # Helm itself hands `global` to subcharts, and the quantities of `resources` are Kubernetes' own.
    others = {path for path in known if path != "global" and not path.startswith("resources.")}
    assert others <= values.keys() | inner


def test_every_value_is_described_and_nothing_else_is_taken() -> None:
    broken = [path for path, child in described(schema()) if not child.get("description")]
    broken += [
        path
        for path, child in [("", schema()), *described(schema())]
        if "properties" in child and child.get("additionalProperties") is not False
    ]
    assert not broken


def test_every_value_is_used() -> None:
    used = values_used()
    unused = [
        path
        for path in leaves(default_values())
        if not any(path == one or path.startswith(f"{one}.") for one in used)
    ]
    assert not unused
    known = set(dict(described(schema())))
    assert used <= known, "the templates read what the schema doesn't have"


@pytest.mark.parametrize(
    ("setting", "wrong"),
    [
        ("imagee.tag=dev", "imagee"),
        ("image.tags=dev", "tags"),
        ("runner.limits.cpu=1", "limits"),
        ("runner.cpu=much", "/runner/cpu"),
        ("runner.cpu=0", "/runner/cpu"),
        ("runner.memory=0Gi", "/runner/memory"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.digest=sha256:12", "/image/digest"),
        ("image.repository=", "/image/repository"),
        ("serviceMonitor.masters.interval=often", "/serviceMonitor/masters/interval"),
        ("serviceMonitor.enabled=perhaps", "/serviceMonitor/enabled"),
        ("watchNamespace=Shop_1", "/watchNamespace"),
        ("dashboards.labelValue=a b", "/dashboards/labelValue"),
        ("podLabels.team=7", "/podLabels/team"),
        ("resources.limit.memory=1Gi", "limit"),
        ("replicas=2", "replicas"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(setting: str, wrong: str) -> None:
    said = refusal(f"--set={setting}")
    assert "don't meet the specifications of the schema" in said
    assert wrong in said


@pytest.mark.parametrize("cpu", ["2", "0.5", "1500m"])
def test_a_cpu_is_taken_in_every_usual_form(cpu: str) -> None:
    assert f"--runner-cpu={cpu}\n" in text(f"--set=runner.cpu={cpu}")
    assert f"--runner-cpu={cpu}\n" in text(f"--set-string=runner.cpu={cpu}")


def test_an_older_cluster_is_refused() -> None:
    assert "kubeVersion" in refusal("--kube-version=1.32.9")
    assert render("--kube-version=1.33.1-eks-1234")


def row(path: str, value: object) -> str:
    """A value's line in the README."""
    return f"| `{path}` | `{json.dumps(value)}` | {description(path)} |"


def test_the_readme_has_every_value() -> None:
    head, _, rest = README.read_text().partition("| value | default | |\n")
    lines = rest.splitlines(keepends=True)
    tail = "".join(
        lines[next((at for at, line in enumerate(lines) if not line.startswith("|")), len(lines)) :]
    )
    table = [
        "| value | default | |",
        "| --- | --- | --- |",
        *(row(*leaf) for leaf in leaves(default_values()).items()),
    ]
    wanted = head + "\n".join(table) + "\n" + tail
    if "AIOTEST_WRITE_GOLDEN" in os.environ:
        README.write_text(wanted)
    assert README.read_text() == wanted, (
        "the chart's README has another table of values: run this test with AIOTEST_WRITE_GOLDEN=1"
    )


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the chart that renders its notes too, as Helm does only in front of a cluster."""
    copy = tmp_path_factory.mktemp("spoken") / "chart"
    shutil.copytree(CHART, copy)
    (copy / "templates/NOTES.txt").rename(copy / "NOTES.txt")
    (copy / "templates/notes.yaml").write_text(
        'kind: Notes\nsaid: {{ tpl (.Files.Get "NOTES.txt") . | quote }}\n'
    )
    return copy


def notes(chart: Path, *flags: str) -> str:
    """What the chart says after an installation."""
    manifests = yaml.safe_load_all(text(*flags, chart=chart))
    (said,) = (manifest["said"] for manifest in manifests if manifest and manifest["kind"] == "Notes")
    return str(said)


def test_the_notes_warn_when_prometheus_operator_is_absent(spoken: Path) -> None:
    assert "WARNING: no ServiceMonitor" in notes(spoken)
    assert "WARNING" not in notes(spoken, MONITORING)
    assert "WARNING" not in notes(spoken, "--set=serviceMonitor.enabled=false")


def test_the_notes_load_test_is_one_that_can_be_applied(spoken: Path) -> None:
    for flags, namespace in ((), "default"), (("--set=watchNamespace=shop",), "shop"):
        manifest = notes(spoken, *flags).partition("<<'MANIFEST'\n")[2].partition("\nMANIFEST\n")[0]
        load_test = yaml.safe_load(manifest)
        assert load_test["kind"] == "LoadTest"
        assert not unknown_fields(load_test)
        assert f".{namespace}.svc" in load_test["spec"]["host"]
        compile(load_test["spec"]["aiotestfile"]["inline"], "aiotestfile.py", "exec")


def test_the_notes_tell_who_renders_elsewhere_about_the_key(spoken: Path) -> None:
    assert "key.existingSecret" in notes(spoken)
    assert "key.existingSecret" not in notes(spoken, "--set=key.existingSecret=ours")
