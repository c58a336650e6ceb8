"""The control of the power cut: the branch's pods with an fdatasync that does nothing, and that says it did.

Debian's libeatmydata is loaded before the C library in the pod's processes. Nothing of the product knows of it: its
static pods are altered on the host, and put back together with the disk as it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.region.branch import Branch
from tests.region.conftest import on_host
from tests.region.pods import pods, wait_until_back

_NAMESPACE = "pacs"
_LIBRARY = "/usr/local/lib/libeatmydata.so"


def library() -> Path | None:
    """Where this machine has libeatmydata (Debian: libeatmydata1)."""
    return next(iter(sorted(Path("/usr/lib").glob("*/libeatmydata.so"))), None)


@contextmanager
def without_fdatasync(branch: Branch, names: Sequence[str]) -> Iterator[None]:
    """Inside, the static pods `names` write without syncing; afterwards everything is as before, and answers."""
    found, before = library(), pods(branch.site, _NAMESPACE)
    assert found is not None, "libeatmydata1 is not installed: see toolchain/debian.txt"
    root = branch.home / "rootfs"
    manifests = {root / f"etc/kubernetes/manifests/{name}.yaml": name for name in names}
    original = {path: path.read_text(encoding="utf-8") for path in manifests}
    placed = root / _LIBRARY.removeprefix("/")
    try:
        with branch.disk_put_back():
            shutil.copyfile(found, placed)
            try:
                for path, text in original.items():
                    _replace(path, _preloaded(text))
                for pod in before:
                    if any(pod.name.startswith(name) for name in names):
                        wait_until_back(before, pod)
                users = int(
                    on_host(branch.site, "grep --files-with-matches libeatmydata /proc/[0-9]*/maps | wc -l")
                )
                assert users >= len(names), f"{users} processes have it loaded: this is no control"
                yield
            finally:
                for path, text in original.items():
                    _replace(path, text)
                placed.unlink()
    finally:
        branch.start()
        branch.wait_until_ready()


def _preloaded(manifest: str) -> str:
    document = yaml.safe_load(manifest)
    spec = document["spec"]
    for container in spec["containers"]:
        container.setdefault("env", []).append({"name": "LD_PRELOAD", "value": _LIBRARY})
        container["volumeMounts"].append({"name": "control", "mountPath": _LIBRARY, "readOnly": True})
    spec["volumes"].append({"name": "control", "hostPath": {"path": _LIBRARY, "type": "File"}})
    return str(yaml.safe_dump(document, allow_unicode=True))


def _replace(path: Path, text: str) -> None:
    """The kubelet reads whatever lies beside its manifests, so the new one is written elsewhere."""
    partial = path.parents[1] / f"{path.name}.part"
    partial.write_text(text, encoding="utf-8")
    partial.chmod(0o600)
    partial.rename(path)
