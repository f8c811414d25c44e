"""The examples in configs/ that run a worker: checked by the tools of those who will read them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mailsluice.config.loading import load_worker
from mailsluice.ses import control_plane

CONFIGS = Path("configs")
UNIT = CONFIGS / "mailsluice-worker.service"
MANIFEST = CONFIGS / "kubernetes.yaml"
HADOLINT = shutil.which("hadolint", path=Path(sys.executable).parent)

VERSION = "1.31"
"""Of Kubernetes: an old one that is still about takes it, too."""


def manifest() -> dict[str, Any]:
    """By kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.process
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("mailsluice")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/mailsluice/bin/mailsluice", str(command)))
    checked = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    broken = tmp_path / "broken.service"
    broken.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHome=perhaps"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", broken], capture_output=True, text=True, check=False
    )
    assert "broken.service:" in checked.stderr, "a mistake would be noticed"


def test_systemd_waits_longer_than_the_worker_drains() -> None:
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert int(stop_s) > load_worker(CONFIGS / "worker.toml").messages.drain_s


@pytest.mark.parametrize("resource", manifest().values(), ids=lambda each: each["kind"])
def test_kubernetes_takes_the_manifest(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, VERSION, strict=True)


def test_a_mistake_in_the_manifest_would_be_noticed() -> None:
    resource = manifest()["StatefulSet"]
    resource["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource, VERSION, strict=True)


def test_the_parts_of_the_manifest_fit_together(tmp_path: Path) -> None:
    found = manifest()
    pod = found["StatefulSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    file = tmp_path / "worker.toml"
    file.write_text(found["ConfigMap"]["data"]["worker.toml"])
    token = found["Secret"]["stringData"]["token"]
    settings = load_worker(file, [f"http.token={token}"])
    assert settings.http.port == container["ports"][0]["containerPort"]
    assert pod["terminationGracePeriodSeconds"] > settings.messages.drain_s
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    assert str(settings.folder.path) in mounts
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["args"] == ["/etc/mailsluice/worker.toml"]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
@pytest.mark.process
def test_the_dockerfile_has_no_fault_that_a_linter_knows() -> None:
    assert HADOLINT is not None
    checked = subprocess.run(
        [HADOLINT, "--no-color", CONFIGS / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_what_the_dockerfile_copies_is_there() -> None:
    for line in re.findall(
        r"^COPY (?!--from)(.*) \S+$", (CONFIGS / "Dockerfile").read_text(), re.MULTILINE
    ):
        assert all(Path(each).exists() for each in line.split())


def test_every_key_that_the_worker_s_example_shows_exists(tmp_path: Path) -> None:
    text = (CONFIGS / "worker.toml").read_text()
    file = tmp_path / "worker.toml"
    file.write_text(re.sub(r"^# (?=\[(?:queue|feedback)\] |\w+ = )", "", text, flags=re.MULTILINE))
    settings = load_worker(file)
    assert settings.queue is not None
    assert settings.queue.in_hand == 1_000
    assert settings.feedback is not None
    assert settings.log.format == "auto"


@pytest.mark.parametrize(
    ("name", "text"), [("iam-policy", "README.md"), ("iam-policy-worker", "docs/worker.md")]
)
def test_a_policy_allows_what_the_documentation_names_and_nothing_else(
    name: str, text: str
) -> None:
    policy = json.loads((CONFIGS / f"{name}.json").read_text())
    allowed = {
        action
        for statement in policy["Statement"]
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    }
    said = Path(text).read_text() + Path("README.md").read_text()
    named = {action for action in allowed if action in said or action.partition(":")[2] in said}
    assert allowed == named
    assert {"ses:SendBulkEmail", "ses:GetAccount"} <= allowed
    assert not any("*" in action for action in allowed)


def test_the_policies_allow_what_checks_and_suppressions_call_and_nothing_else() -> None:
    source = Path(control_plane.__file__).read_text(encoding="utf-8")
    called = set(re.findall(r'\(?"((?:Get|List|TestRender|Put|Delete)[A-Z]\w+)",', source))
    allowed: set[str] = set()
    for name, page in (("check", "before-you-send"), ("suppress", "suppression")):
        [statement] = json.loads((CONFIGS / f"iam-policy-{name}.json").read_text())["Statement"]
        actions = {action.partition(":")[2] for action in statement["Action"]}
        said = Path(f"docs/{page}.md").read_text(encoding="utf-8")
        assert [action for action in actions if action not in said] == []
        assert not actions & allowed
        allowed |= actions
    assert allowed == called
