"""A control plane's certificates are renewed long before they end, and its parts start anew in order."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.kubernetes_node.files import renew_certificates
from roles.kubernetes_node.files.renew_certificates import LABEL, due, exposition, relabelled

ROLE = Path(__file__).parents[2] / "roles/kubernetes_node"
NOW = 1_800_000_000.0
MANIFEST = """apiVersion: v1
kind: Pod
metadata:
  labels:
    component: kube-scheduler
    tier: control-plane
  name: kube-scheduler
spec:
  containers: []
"""


def report(**ends: str) -> dict[str, Any]:
    """What kubeadm says: `apiserver` and others with these ends; an authority that ends today."""
    entries = [{"name": name, "expirationDate": end, "missing": False} for name, end in ends.items()]
    entries.append({"name": "super-admin.conf", "expirationDate": "0001-01-01T00:00:00Z", "missing": True})
    authority = {"name": "ca", "expirationDate": "2027-01-15T08:00:00Z", "missing": False}
    return {"certificates": entries, "certificateAuthorities": [authority]}


def test_a_certificate_is_due_with_less_than_the_wanted_life_left_also_when_it_has_ended() -> None:
    found = report(fresh="2029-01-14T00:00:00Z", old="2028-01-15T00:00:00Z", ended="2026-01-01T00:00:00Z")
    assert due(found, NOW, 550) == ["old", "ended"]


def test_an_authority_and_a_certificate_that_is_not_there_are_never_due() -> None:
    assert due(report(), NOW, 550) == []


def test_what_a_fresh_cluster_has_is_not_renewed_in_its_first_night() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8"))
    assert defaults["kubernetes_node_certificate_days"] - 90 > defaults["kubernetes_node_renew_before_days"]


def test_node_exporter_is_told_the_end_of_every_certificate_and_authority() -> None:
    text = exposition(report(apiserver="2029-01-14T00:00:00Z"))
    assert f'{renew_certificates.METRIC}{{certificate="apiserver"}} 1863043200\n' in text
    assert 'certificate="ca"' in text
    assert "super-admin" not in text


def test_a_manifest_gets_one_label_which_alone_differs_from_renewal_to_renewal() -> None:
    once = relabelled(MANIFEST, "1")
    assert relabelled(once, "1") == once
    pod, again = yaml.safe_load(once), yaml.safe_load(relabelled(once, "2"))
    assert pod["metadata"]["labels"].pop(LABEL) == "1"
    assert again["metadata"]["labels"].pop(LABEL) == "2"
    assert pod == again == yaml.safe_load(MANIFEST)


def test_the_parts_start_anew_from_the_ground_up() -> None:
    assert list(renew_certificates.PARTS) == [
        "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
    ]  # fmt: skip


SCRIPT = r"""
set -e
ip link set lo up
ip address add 10.99.0.1/32 dev lo scope global
mount --bind "$1" /etc
kubeadm init phase certs all --config /etc/kubernetes/pacs/kubeadm.yaml
kubeadm init phase kubeconfig all --config /etc/kubernetes/pacs/kubeadm.yaml
cp -a /etc/kubernetes/pki/apiserver.crt /etc/before.crt
sed -i 's/8760h0m0s/17520h0m0s/' /etc/kubernetes/pacs/kubeadm.yaml
python3 - <<'END'
import sys, time
from pathlib import Path
from roles.kubernetes_node.files import renew_certificates as renewal
renewal.METRICS = Path("/etc/certificates.prom")
renewal.PARTS = {}
sys.argv = ["renew", "--address=10.99.0.1", "--before-days=550"]
assert renewal.main() == 0
assert renewal.due(renewal._kubeadm_report(), time.time(), 700) == []
assert not Path("/etc/kubernetes/pacs/renewed").exists()
END
! cmp -s /etc/before.crt /etc/kubernetes/pki/apiserver.crt
"""

CONFIGURATION = """apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: 10.99.0.1}
nodeRegistration: {name: dc1, criSocket: "unix:///run/containerd/containerd.sock"}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
certificateValidityPeriod: 8760h0m0s
controlPlaneEndpoint: api.test:6443
"""


@pytest.mark.integration
def test_kubeadm_renews_what_a_cluster_was_made_with_and_needs_no_api_for_it(tmp_path: Path) -> None:
    """In namespaces of its own: /etc is a copy, and no address of this machine is there."""
    from toolchain import install  # noqa: PLC0415

    kubeadm = Path(install.ensure(["kubernetes"])["kubeadm"])
    shutil.copytree(
        "/etc", tmp_path / "etc", symlinks=True, ignore=shutil.ignore_patterns("kubernetes", "shadow*")
    )
    (tmp_path / "etc/kubernetes/pacs").mkdir(parents=True)
    (tmp_path / "etc/kubernetes/pacs/kubeadm.yaml").write_text(CONFIGURATION, encoding="utf-8")
    done = subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", SCRIPT, "-", str(tmp_path / "etc")],
        env=os.environ | {"PATH": f"{kubeadm.parent}:{os.environ['PATH']}"},
        cwd=ROLE.parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'certificate="etcd-server"' in (tmp_path / "etc/certificates.prom").read_text(encoding="utf-8")
