"""Ansible module: takes a dead member out of etcd, asked of a living one on its own host.

etcd's HTTP gateway (`/v3/cluster/member/...`) is used, so that a node needs no etcdctl; the health-check client
certificate that kubeadm makes opens it, and its key appears in no argument list.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: etcd_member
short_description: Take a dead member out of etcd
description:
  - Removes every member with the given name, or with a peer URL at the given address.
  - Run it on a control plane whose etcd lives, for a host that has no data of etcd any more.
options:
  name:
    description: Name of the member, which is its node's.
    type: str
    required: true
  address:
    description: Address of the member's peer URL.
    type: str
    required: true
  state:
    description: Only C(absent); members are added by kubeadm.
    type: str
    choices: [absent]
    default: absent
  endpoint:
    description: Client URL of the living member.
    type: str
    default: https://127.0.0.1:2379
  pki:
    description: Directory with C(ca.crt), C(healthcheck-client.crt) and C(healthcheck-client.key).
    type: path
    default: /etc/kubernetes/pki/etcd
author: The regional PACS maintainers
"""

SECONDS = 15


def ask(endpoint: str, pki: Path | None, verb: str, request: dict[str, str]) -> dict[str, Any]:
    """One request to etcd's HTTP gateway. Raises OSError where it refuses or does not answer."""
    context = None
    if endpoint.startswith("https:") and pki is not None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "healthcheck-client.crt", pki / "healthcheck-client.key")
    call = urllib.request.Request(  # noqa: S310 - the endpoint is the host's own etcd
        f"{endpoint}/v3/cluster/member/{verb}",
        data=json.dumps(request).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=SECONDS, context=context) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def dead(members: list[dict[str, Any]], name: str, address: str) -> list[dict[str, Any]]:
    """The members that are `name`, or whose peer URL is at `address`: a learner has no name yet."""
    return [
        member
        for member in members
        if member.get("name") == name
        or address in {urlsplit(url).hostname for url in member.get("peerURLs", [])}
    ]


def main() -> None:
    """List, compare, remove."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["absent"], "default": "absent"},
            "endpoint": {"type": "str", "default": "https://127.0.0.1:2379"},
            "pki": {"type": "path", "default": "/etc/kubernetes/pki/etcd"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    pki = Path(asked["pki"])
    try:
        members = ask(asked["endpoint"], pki, "list", {}).get("members", [])
        gone = dead(members, asked["name"], asked["address"])
        if len(gone) == len(members):
            module.fail_json(
                msg=f"{asked['name']} is the only member of etcd here: run this on another control plane"
            )
        if not module.check_mode:
            for member in gone:
                ask(asked["endpoint"], pki, "remove", {"ID": member["ID"]})
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")[:300]
        module.fail_json(
            msg=f"etcd refuses ({error.code}): {text}; without a majority of its members it takes no change: "
            "bring one of the others back first (docs/replace-a-node.md)"
        )
    except OSError as error:
        module.fail_json(
            msg=f"etcd at {asked['endpoint']} does not answer: {error}; look at its log in /var/log/pods, and see "
            "docs/replace-a-node.md where a majority of its members is lost"
        )
    module.exit_json(changed=bool(gone), removed=[member.get("name") or member["ID"] for member in gone])


if __name__ == "__main__":
    main()
