"""Three data-centre nodes on this machine: the play of a production region, on hosts of its own.

Names, networks and state are apart from the local stack's, so that neither notices the other. Each test stands on the
one before: the cluster is made, used, loses its first node, and gets it back.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.machine.kernel import INOTIFY_INSTANCES
from infra.components.cluster import PLAY, PLAYBOOK, network_variables, node_variables
from infra.components.hosts import node_spec
from infra.config.region import CONFIG_KEY, RegionConfig, parse_region, stack_file
from infra.hosts.base import HostFacts, HostSpec
from infra.hosts.nspawn import NspawnHosts
from infra.providers.play_run import PlayReport, PlayRequest, run_play
from infra.supplies import Supplies, from_toolchain
from toolchain.install import installed
from toolchain.paths import state_directory

pytestmark = [pytest.mark.region, pytest.mark.timeout(900)]

STACK = "trio"
NAMES = ("trio1", "trio2", "trio3")
BRIDGE = "pacs3"
SERVER = "http://server.default.svc.cluster.local:8080/"
NOTICED_SECONDS = 120.0


def trio() -> RegionConfig:
    """The local region with three nodes in place of one, and no branch."""
    document = yaml.safe_load(stack_file("local").read_text(encoding="utf-8"))["config"][CONFIG_KEY]
    document["region"] |= {"name": STACK, "domain": "trio.test"}
    document["network"] |= {
        "pods": "10.246.0.0/16",
        "services": "10.98.0.0/16",
        "management": "10.93.0.0/24",
        "internet": "100.66.0.0/16",
        "cni": "flannel",
    }
    document["kubernetes"]["control_plane_endpoint"] = "api.trio.test"
    document["hosts"]["bridge"] = BRIDGE
    (node,) = document["datacenter"]["nodes"]
    disks = [{"name": "osd1", "size": "6Gi"}, {"name": "osd2", "size": "6Gi"}]
    document["datacenter"]["nodes"] = [
        {**node, "name": name, "address": f"10.93.0.{number}", "disks": disks}
        for number, name in enumerate(NAMES, 11)
    ]
    copies = {"kind": "replicated", "size": 3}
    document["object_store"] |= {"failure_domain": "host", "metadata_pool": copies, "data_pool": copies}
    document["branches"] = []
    return parse_region(document, source="the three-node test")


@dataclass
class Trio:
    """The hosts, the play over them, and the operator's way in."""

    region: RegionConfig
    supplies: Supplies
    specs: dict[str, HostSpec]

    @property
    def state(self) -> Path:
        return self.supplies.state_dir

    def play(self, *, check: bool = False) -> PlayReport:
        """Run the data centre's playbook over all three."""
        results = self.state / "results" / f"{PLAY}.json"
        results.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        variables = {
            **node_variables(self.region, self.supplies, images=("services", "flannel")),
            **network_variables(self.region, self.supplies),
            "pacs_results_file": str(results),
        }
        hosts = [self._inventory(NspawnHosts().ensure(spec)) for spec in self.specs.values()]
        return run_play(PlayRequest(PLAY, PLAYBOOK, hosts, variables, self.state, check=check))

    def _inventory(self, facts: HostFacts) -> dict[str, Any]:
        return {
            "name": facts.name, "address": facts.address, "user": facts.ssh_user, "port": facts.ssh_port,
            "key": facts.ssh_key, "host_key": facts.host_key, "groups": ["datacenter"],
            "variables": {
                "kubernetes_node_address": facts.address,
                "ceph_device_paths": sorted(facts.devices.values()),
            },
        }  # fmt: skip

    def kubectl(self, context: str, *words: str, given: str | None = None) -> str:
        """kubectl on the operator's machine, through the control plane `context`."""
        kubeconfig = self.state / "kubeconfig"
        results = json.loads((self.state / "results" / f"{PLAY}.json").read_text(encoding="utf-8"))
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(results["kubeconfig"], encoding="utf-8")
        program = installed(["kubernetes"])["kubectl"]
        return _run(str(program), f"--kubeconfig={kubeconfig}", f"--context={context}", *words, given=given)

    def on(self, name: str, command: str) -> str:
        """A shell command on a host, as root."""
        facts = NspawnHosts().inspect(self.specs[name])
        assert facts is not None
        options = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ]
        return _run("ssh", "-i", facts.ssh_key, *options, f"root@{facts.address}", command)

    def ask(self, context: str, url: str) -> str:
        """What the pod `client` is answered: a status, or why none came."""
        code = (
            "import sys, urllib.request\n"
            "try: print(urllib.request.urlopen(sys.argv[1], timeout=10).status)\n"
            "except OSError as error: print(error)"
        )
        return self.kubectl(context, "exec", "client", "--", "/usr/bin/python3", "-c", code, url).strip()

    def members(self, name: str) -> list[str]:
        """etcd's members, asked of the one on `name`."""
        pki = "/etc/kubernetes/pki/etcd"
        answer = self.on(
            name,
            f"curl --silent --fail --cacert {pki}/ca.crt --cert {pki}/healthcheck-client.crt "
            f"--key {pki}/healthcheck-client.key --data '{{}}' https://127.0.0.1:2379/v3/cluster/member/list",
        )
        return sorted(member["name"] for member in json.loads(answer)["members"])

    def remove(self) -> None:
        """End everything of ours on this machine."""
        for spec in self.specs.values():
            NspawnHosts().remove(spec)
        shutil.rmtree(self.state, ignore_errors=True)


def _run(*command: str, given: str | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def watchers() -> Iterator[None]:
    """Enough of them for these hosts and those of the local stack, which may run beside them."""
    before = INOTIFY_INSTANCES.read_text(encoding="ascii")
    INOTIFY_INSTANCES.write_text(f"{max(int(before), 512)}\n", encoding="ascii")
    yield
    INOTIFY_INSTANCES.write_text(before, encoding="ascii")


@pytest.fixture(scope="module")
def cluster(watchers: None) -> Iterator[Trio]:
    """Three hosts with a cluster on them, made by the play; nothing of them stays."""
    region = trio()
    state = state_directory(STACK)
    specs = {node.name: node_spec(region, node, state) for node in region.datacenter.nodes}
    made = Trio(region, from_toolchain(region, STACK), specs)
    made.remove()
    made.state.mkdir(parents=True, mode=0o700)
    try:
        report = made.play()
        assert report.succeeded, (report.failed, report.unreachable)
        yield made
    finally:
        made.remove()


def answers(cluster: Trio, context: str, url: str) -> None:
    """The pod `client` is answered at the latest when the cluster must have noticed."""
    deadline = time.monotonic() + NOTICED_SECONDS
    while (told := cluster.ask(context, url)) != "200":
        assert time.monotonic() < deadline, told


def test_three_nodes_are_ready_and_each_carries_etcd_and_work(cluster: Trio) -> None:
    nodes = json.loads(cluster.kubectl("trio1", "get", "nodes", "--output=json"))["items"]
    assert sorted(node["metadata"]["name"] for node in nodes) == list(NAMES)
    for node in nodes:
        conditions = {entry["type"]: entry["status"] for entry in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"
        assert node["spec"].get("taints", []) == []
    assert cluster.members("trio2") == list(NAMES)


def test_a_second_run_changes_nothing(cluster: Trio) -> None:
    again = cluster.play()
    assert again.succeeded
    assert again.changed == []


def test_nothing_that_opens_the_cluster_is_left_behind(cluster: Trio) -> None:
    keys = {name: cluster.on(name, "sha256sum < /etc/kubernetes/pacs/encryption.yaml") for name in NAMES}
    assert len(set(keys.values())) == 1
    secrets = cluster.kubectl("trio1", "--namespace=kube-system", "get", "secrets", "--output=name").split()
    assert "secret/kubeadm-certs" not in secrets
    for name in NAMES:
        assert cluster.on(name, "find /run /tmp /root -xdev -name '*.yaml' -newer /etc/hostname") == ""
    token = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
    for path in (cluster.state / "logs").iterdir():
        assert not token.search(path.read_text(encoding="utf-8")), path
    assert not any((cluster.state / "run").iterdir())


def test_a_pod_reaches_a_pod_on_another_node_and_a_service_by_name(cluster: Trio) -> None:
    cluster.kubectl("trio1", "apply", "--filename=-", given=yaml.safe_dump_all(_pods(cluster)))
    cluster.kubectl("trio1", "wait", "pod/server", "--for=condition=Ready", "--timeout=120s")
    address = cluster.kubectl("trio1", "get", "pod", "server", "--output=jsonpath={.status.podIP}")
    cluster.kubectl("trio1", "wait", "pod/client", "--for=condition=Ready", "--timeout=120s")
    # A node hears of another's pods and Services a little after they are ready.
    answers(cluster, "trio1", f"http://{address}:8080/")
    answers(cluster, "trio1", SERVER)


def test_the_api_answers_when_the_node_that_founded_the_cluster_is_dead(cluster: Trio) -> None:
    NspawnHosts().cut_power(cluster.specs["trio1"])
    with contextlib.suppress(AssertionError):
        cluster.kubectl("trio2", "get", "--raw=/readyz")  # etcd elects: the first answer may be a refusal
    assert cluster.kubectl("trio2", "get", "--raw=/readyz") == "ok"
    # The endpoint's name with the dead address first, as a node that is no control plane may have it.
    lines = "".join(f"10.93.0.{number} api.trio.test\\n" for number in (11, 12, 13))
    ask = "kubectl --kubeconfig /etc/kubernetes/admin.conf get --raw=/readyz"
    inside = f"printf '{lines}' > /run/hosts; mount --bind /run/hosts /etc/hosts; {ask}"
    assert cluster.on("trio3", f'unshare --mount sh -ec "{inside}"') == "ok"
    # Names and pods too, as soon as the cluster has noticed (40 s) and sends nobody to the dead node any more.
    answers(cluster, "trio2", SERVER)


def test_a_lost_node_is_replaced_by_an_empty_machine_of_its_name(cluster: Trio) -> None:
    lost = cluster.specs["trio1"]
    identity = "get", "node", "trio1", "--output=jsonpath={.metadata.uid}"
    before = cluster.kubectl("trio2", *identity)
    NspawnHosts().remove(lost)
    report = cluster.play()
    assert report.succeeded, (report.failed, report.unreachable)
    assert cluster.members("trio1") == list(NAMES)
    assert cluster.kubectl("trio1", *identity) != before
    nodes = cluster.kubectl(
        "trio1", "get", "nodes", '--output=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
    )
    assert nodes.split() == ["True"] * 3


def test_nothing_is_left_on_the_machine(cluster: Trio) -> None:
    cluster.remove()
    namespaces = {entry["name"] for entry in json.loads(_run("ip", "-json", "netns", "list") or "[]")}
    assert not namespaces & {f"pacs-{name}" for name in NAMES}
    assert BRIDGE not in {link["ifname"] for link in json.loads(_run("ip", "-json", "link"))}
    assert str(cluster.state) not in _run("losetup", "--all")
    assert str(cluster.state) not in Path("/proc/mounts").read_text(encoding="utf-8")
    assert not [path for name in NAMES for path in Path("/sys/fs/cgroup").glob(f"*/pacs-{name}")]
    assert not cluster.state.exists()


def _pods(cluster: Trio) -> list[dict[str, Any]]:
    """A web server on the third node with a Service before it, and something that can ask it on the second."""
    image = cluster.supplies.images["services"]

    def pod(name: str, node: str, *arguments: str) -> dict[str, Any]:
        container = {
            "name": name, "image": image, "imagePullPolicy": "Never",
            "command": ["/usr/bin/python3", *arguments],
        }  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": node, "containers": [container], "terminationGracePeriodSeconds": 0},
        }  # fmt: skip

    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 8080}]},
    }  # fmt: skip
    return [
        pod("server", "trio3", "-m", "http.server", "8080"),
        pod("client", "trio2", "-c", "import time; time.sleep(3600)"),
        service,
    ]
