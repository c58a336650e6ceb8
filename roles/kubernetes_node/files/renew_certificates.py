#!/usr/bin/python3
"""Renews the certificates of a kubeadm control plane while much of their life is left; a timer runs it every night.

kubeadm signs them with the cluster's CA on this host: neither the API nor any line is needed, and a certificate that
has ended already is renewed too. Then etcd, the API server, the controller manager and the scheduler start anew, one
after the other, each when the one before answers. A run that was cut off is finished by the next one.

When each certificate ends is written for node-exporter's textfile collector.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

KUBERNETES = Path("/etc/kubernetes")
METRICS = Path("/var/lib/node-metrics/certificates.prom")
METRIC = "pacs_node_certificate_end_timestamp_seconds"
LABEL = "pacs.region/certificates"
RESTART_SECONDS = 300.0

# Manifest -> what the kernel calls its process (15 characters), in the order in which one needs the other.
PARTS = {
    "etcd": "etcd",
    "kube-apiserver": "kube-apiserver",
    "kube-controller-manager": "kube-controller",
    "kube-scheduler": "kube-scheduler",
}


def ends(report: Mapping[str, Any]) -> dict[str, float]:
    """Certificate -> when it ends (seconds since 1970), from `kubeadm certs check-expiration --output json`."""
    entries = [*report["certificates"], *report["certificateAuthorities"]]
    return {
        str(entry["name"]): datetime.fromisoformat(entry["expirationDate"]).timestamp()
        for entry in entries
        if not entry["missing"]
    }


def due(report: Mapping[str, Any], now: float, before_days: int) -> list[str]:
    """The certificates to renew: with less than `before_days` left. An authority is renewed by nobody but people."""
    authorities = {entry["name"] for entry in report["certificateAuthorities"]}
    return [
        name
        for name, end in ends(report).items()
        if name not in authorities and end - now < before_days * 86400
    ]


def exposition(report: Mapping[str, Any]) -> str:
    """What node-exporter shows."""
    lines = [f"# HELP {METRIC} When a certificate of the control plane ends.", f"# TYPE {METRIC} gauge"]
    lines += [f'{METRIC}{{certificate="{name}"}} {end:.0f}' for name, end in sorted(ends(report).items())]
    return "\n".join([*lines, ""])


def relabelled(manifest: str, mark: str) -> str:
    """The static pod's manifest with our label set to `mark`: another pod to the kubelet, which starts it anew."""
    without = re.sub(rf"^    {re.escape(LABEL)}: .*\n", "", manifest, flags=re.MULTILINE)
    return re.sub(
        r"^  labels:\n", f'  labels:\n    {LABEL}: "{mark}"\n', without, count=1, flags=re.MULTILINE
    )


def main() -> int:
    """Renew if it is time, and tell. Ends with 1 where a part does not come back."""
    parser = argparse.ArgumentParser(description="Renew the certificates of this control plane.")
    parser.add_argument("--address", required=True, help="address of this node's API server")
    parser.add_argument("--port", type=int, default=6443)
    parser.add_argument("--before-days", type=int, required=True, help="renew with less than this left")
    parser.add_argument("--only-report", action="store_true", help="renew nothing, write the figures")
    options = parser.parse_args()

    found = _kubeadm_report()
    _write(METRICS, exposition(found), 0o644)
    if options.only_report:
        return 0
    begun = KUBERNETES / "pacs" / "renewed"
    names = due(found, time.time(), options.before_days)
    if names:
        print(f"renewing, with less than {options.before_days} days left: {', '.join(names)}", flush=True)
        _write(begun, f"{time.time():.0f}", 0o600)
        _kubeadm("renew", "all")
    if begun.exists():
        mark = begun.read_text(encoding="utf-8")
        checks = _checks(options.address, options.port)
        for part in PARTS:
            if not _restart(part, mark, checks[part]):
                print(f"{part} does not answer {RESTART_SECONDS:.0f} s after its renewal", file=sys.stderr)
                return 1
        begun.unlink()
        _write(METRICS, exposition(_kubeadm_report()), 0o644)
    return 0


def _kubeadm_report() -> Mapping[str, Any]:
    report: Mapping[str, Any] = json.loads(_kubeadm("check-expiration", "--output", "json"))
    return report


def _kubeadm(*arguments: str) -> str:
    """`kubeadm certs ...` by the configuration on this host, never by asking the API."""
    command = ["kubeadm", "certs", *arguments, "--config", str(KUBERNETES / "pacs" / "kubeadm.yaml")]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _restart(part: str, mark: str, answers: Callable[[], bool]) -> bool:
    """Whether `part` runs in a new process and answers, at the latest after RESTART_SECONDS."""
    path = KUBERNETES / "manifests" / f"{part}.yaml"
    manifest = path.read_text(encoding="utf-8")
    wanted = relabelled(manifest, mark)
    before = _processes(PARTS[part]) if wanted != manifest else set()
    if wanted != manifest:
        print(f"starting {part} anew", flush=True)
        # Beside the directory that the kubelet watches, on the same file system: it never sees half a file.
        _write(path, wanted, 0o600, beside=KUBERNETES / "pacs")
    deadline = time.monotonic() + RESTART_SECONDS
    while time.monotonic() < deadline:
        now = _processes(PARTS[part])
        if now and not now & before and answers():
            return True
        time.sleep(1)
    return False


def _processes(name: str) -> set[int]:
    """Ids of the processes of that name."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text(encoding="utf-8").strip() == name:
                found.add(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def _checks(address: str, port: int) -> dict[str, Callable[[], bool]]:
    """Part -> whether it answers."""
    trust = str(KUBERNETES / "pki" / "ca.crt")
    return {
        "etcd": lambda: _answers("http://127.0.0.1:2381/health", None),
        "kube-apiserver": lambda: _answers(f"https://{address}:{port}/readyz", trust),
        "kube-controller-manager": lambda: _listens(10257),
        "kube-scheduler": lambda: _listens(10259),
    }


def _answers(url: str, trust: str | None) -> bool:
    context = ssl.create_default_context(cafile=trust) if trust else None
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:  # noqa: S310 - this host's own parts
            return bool(answer.status == 200)
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def _write(path: Path, text: str, mode: int, beside: Path | None = None) -> None:
    """Replace the file in one step."""
    part = (beside or path.parent) / f".{path.name}.part"
    part.write_text(text, encoding="utf-8")
    part.chmod(mode)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
