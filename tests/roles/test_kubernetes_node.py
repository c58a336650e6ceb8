"""Who founds the cluster, who joins it and what each is told: the role's own variables and templates, evaluated."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from roles.kubernetes_node.library import etcd_member

ROLE = Path(__file__).parents[2] / "roles/kubernetes_node"
ADDRESSES = {"dc1": "10.0.0.11", "dc2": "10.0.0.12", "dc3": "10.0.0.13", "worker": "10.0.0.14"}
INVITATION = (
    "0f0f0f\n"
    "kubeadm join api.test:6443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:aa11 "
)

ADMIN = {
    "clusters": [
        {"name": "kubernetes", "cluster": {"certificate-authority-data": "Y2E=", "server": "https://api"}}
    ],
    "users": [
        {"name": "kubernetes-admin", "user": {"client-certificate-data": "Y3J0", "client-key-data": "a2V5"}}
    ],
}

SHOWN = {
    "leader": "{{ _kubernetes_node_leader }}",
    "founder": "{{ _kubernetes_node_is_founder }}",
    "waiting": "{{ _kubernetes_node_waiting }}",
    "there": "{{ _kubernetes_node_cluster_is_there }}",
    "addresses": "{{ _kubernetes_node_api_addresses }}",
    "mtu": "{{ _kubernetes_node_link_mtu }}",
    "join": "{{ lookup('ansible.builtin.template', template_directory + '/etc/kubernetes/join.yaml.j2') }}",
    "kubeadm": "{{ lookup('ansible.builtin.template', template_directory + '/etc/kubernetes/kubeadm.yaml.j2') }}",
    "flannel": "{{ lookup('ansible.builtin.template', template_directory + '/etc/kubernetes/flannel.yaml.j2') }}",
    "kubeconfig": "{{ lookup('ansible.builtin.template', playbook_templates + '/kubeconfig.j2') }}",
    "timer": (
        "{{ lookup('ansible.builtin.template', template_directory + '/etc/systemd/pacs-renew-certificates.timer.j2')"
        " if _kubernetes_node_is_plane else '' }}"
    ),
    "cni": "{{ lookup('ansible.builtin.template', template_directory + '/etc/cni/10-pacs.conflist.j2') }}",
}


def evaluate(folder: Path, members: set[str], **more: Any) -> dict[str, dict[str, Any]]:
    """What each host of a play works out; `members` have the mark of a finished kubeadm."""
    hosts = {
        name: {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "kubernetes_node_address": address,
            "__kubernetes_node_finished": {"stat": {"exists": name in members}},
        }
        for name, address in ADDRESSES.items()
    }
    variables = {
        **yaml.safe_load((ROLE / "defaults/main.yml").read_text(encoding="utf-8")),
        "template_directory": str(ROLE / "templates"),
        "playbook_templates": str(ROLE.parents[1] / "playbooks/templates"),
        "__datacenter_kubeconfig": {"content": base64.b64encode(json.dumps(ADMIN).encode()).decode()},
        "kubernetes_node_version": "1.36.3",
        "kubernetes_node_etcd_version": "3.6.16-0",
        "kubernetes_node_coredns_version": "1.14.7",
        "kubernetes_node_pod_cidr": "10.244.0.0/16",
        "kubernetes_node_service_cidr": "10.96.0.0/16",
        "kubernetes_node_control_plane_endpoint": "api.test",
        "kubernetes_node_control_planes": [
            {"name": name, "address": address} for name, address in ADDRESSES.items() if name != "worker"
        ],
        "kubernetes_node_cni": "flannel",
        "kubernetes_node_flannel_image": "pacs.local/flannel:1",
        "__kubernetes_node_pod_cidr": {"stdout": "10.244.7.0/24"},
        "__kubernetes_node_invitation": {"stdout": INVITATION},
        **more,
    }
    every_host = "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'shown'))) | to_json }}"
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(ROLE / "vars/main.yml")],
        "tasks": [
            {"ansible.builtin.set_fact": {"shown": SHOWN}},
            {
                "ansible.builtin.copy": {
                    "content": every_host, "dest": f"{folder}/shown.json", "mode": "0600"
                },
                "run_once": True,
                "check_mode": False,
            },
        ],
    }  # fmt: skip
    documents = {"inventory": {"all": {"hosts": hosts}}, "variables": variables, "play": [play]}
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", f"{folder}/inventory.json",
         "--extra-vars", f"@{folder}/variables.json", f"{folder}/play.json"],
        env=os.environ | {"ANSIBLE_LOCAL_TEMP": f"{folder}/temporary", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, dict[str, Any]] = json.loads((folder / "shown.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Four machines of which none belongs to a cluster."""
    return evaluate(tmp_path_factory.mktemp("fresh"), set())


def test_the_first_control_plane_founds_the_cluster_and_the_others_wait(
    fresh: dict[str, dict[str, Any]],
) -> None:
    assert {name for name, host in fresh.items() if host["founder"]} == {"dc1"}
    assert {host["leader"] for host in fresh.values()} == {"dc1"}
    assert fresh["dc1"]["waiting"] == ["dc2", "dc3", "worker"]


def test_a_lost_first_node_joins_its_successors_and_founds_nothing(tmp_path: Path) -> None:
    hosts = evaluate(tmp_path, {"dc2", "dc3", "worker"})
    assert not any(host["founder"] for host in hosts.values())
    assert {host["leader"] for host in hosts.values()} == {"dc2"}
    assert hosts["dc1"]["waiting"] == ["dc1"]


def test_every_node_knows_all_control_planes_its_own_first(fresh: dict[str, dict[str, Any]]) -> None:
    assert fresh["dc2"]["addresses"] == ["10.0.0.12", "10.0.0.11", "10.0.0.13"]
    assert fresh["worker"]["addresses"] == ["10.0.0.11", "10.0.0.12", "10.0.0.13"]


def test_a_new_control_plane_is_told_the_token_the_root_and_the_certificate_key(
    fresh: dict[str, dict[str, Any]],
) -> None:
    document = yaml.safe_load(fresh["dc2"]["join"])
    assert document["discovery"]["bootstrapToken"] == {
        "apiServerEndpoint": "api.test:6443",
        "token": "abcdef.0123456789abcdef",
        "caCertHashes": ["sha256:aa11"],
    }
    assert document["controlPlane"]["certificateKey"] == "0f0f0f"
    assert document["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == "10.0.0.12"
    assert document["nodeRegistration"]["taints"] == []


def test_a_worker_is_not_told_the_certificate_key(fresh: dict[str, dict[str, Any]]) -> None:
    document = yaml.safe_load(fresh["worker"]["join"])
    assert "controlPlane" not in document
    assert "0f0f0f" not in fresh["worker"]["join"]


def test_the_founder_lets_pods_onto_its_node_and_encrypts_secrets(fresh: dict[str, dict[str, Any]]) -> None:
    init, cluster, *_ = yaml.safe_load_all(fresh["dc1"]["kubeadm"])
    assert init["nodeRegistration"]["taints"] == []
    assert [token["ttl"] for token in init["bootstrapTokens"]] == ["1m0s"]
    assert cluster["controlPlaneEndpoint"] == "api.test:6443"
    arguments = {argument["name"]: argument["value"] for argument in cluster["apiServer"]["extraArgs"]}
    assert arguments["encryption-provider-config"] == "/etc/kubernetes/pacs/encryption.yaml"


def test_pods_of_a_node_get_its_part_of_the_network_and_room_for_the_tunnel(
    fresh: dict[str, dict[str, Any]],
) -> None:
    bridge, _ = json.loads(fresh["dc1"]["cni"])["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.7.0/24"}]]
    assert bridge["mtu"] == 1450
    assert bridge["ipMasq"] is False  # flannel does, and knows the other nodes' pods


def test_the_operators_way_in_has_a_context_for_each_control_plane(fresh: dict[str, dict[str, Any]]) -> None:
    document = yaml.safe_load(fresh["dc1"]["kubeconfig"])
    servers = {entry["name"]: entry["cluster"]["server"] for entry in document["clusters"]}
    assert servers == {
        "dc1": "https://10.0.0.11:6443", "dc2": "https://10.0.0.12:6443", "dc3": "https://10.0.0.13:6443",
    }  # fmt: skip
    assert {entry["context"]["cluster"] for entry in document["contexts"]} == set(servers)
    assert document["current-context"] == "dc1"
    assert document["users"][0]["user"] == ADMIN["users"][0]["user"]  # type: ignore[index]


def test_flannel_asks_for_no_more_than_it_needs(fresh: dict[str, dict[str, Any]]) -> None:
    objects = {document["kind"]: document for document in yaml.safe_load_all(fresh["dc1"]["flannel"])}
    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "pacs.local/flannel:1"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    assert "privileged" not in container["securityContext"]
    network = json.loads(objects["ConfigMap"]["data"]["net-conf.json"])
    assert network == {"Network": "10.244.0.0/16", "EnableNFTables": True, "Backend": {"Type": "vxlan"}}
    assert objects["Namespace"]["metadata"]["annotations"]["pacs/pod-security-reason"]


def test_only_the_members_of_the_lost_node_are_dead() -> None:
    members = [
        {"ID": "1", "name": "dc1", "peerURLs": ["https://10.0.0.11:2380"]},
        {"ID": "2", "name": "dc2", "peerURLs": ["https://10.0.0.12:2380"]},
        {"ID": "3", "peerURLs": ["https://10.0.0.13:2380"]},
    ]
    assert [member["ID"] for member in etcd_member.dead(members, "dc1", "10.0.0.11")] == ["1"]
    assert [member["ID"] for member in etcd_member.dead(members, "dc3", "10.0.0.13")] == ["3"]
    assert etcd_member.dead(members, "dc4", "10.0.0.1") == []


def test_nothing_that_holds_a_secret_is_an_argument_or_is_logged() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/join.yml").read_text(encoding="utf-8"))
    block = next(task for task in tasks if "block" in task)
    flat = [task for task in tasks if "block" not in task] + block["block"] + block["always"]
    holders = [task for task in flat if _names_a_secret(task)]
    assert len(holders) == 4
    for task in holders:
        assert task["no_log"] is True, task["name"]
        command = str(
            task.get("ansible.builtin.shell", task.get("ansible.builtin.command", {})).get("cmd", "")
        )
        assert "__kubernetes_node_" not in command, task["name"]


def _names_a_secret(task: dict[str, Any]) -> bool:
    """Whether a task takes or makes the encryption key, the token or the certificate key."""
    text = json.dumps({key: value for key, value in task.items() if key not in {"name", "vars", "when"}})
    return any(
        word in text
        for word in (
            "token create",
            "join.yaml.j2",
            '"__kubernetes_node_encryption_key',
            "encryption_key.content",
        )
    )


def test_no_two_control_planes_renew_at_the_same_hour(fresh: dict[str, dict[str, Any]]) -> None:
    hours = [
        host["timer"].split("OnCalendar=")[1].splitlines()[0] for host in fresh.values() if host["timer"]
    ]
    assert hours == ["*-*-* 01:20:00 UTC", "*-*-* 02:20:00 UTC", "*-*-* 03:20:00 UTC"]
