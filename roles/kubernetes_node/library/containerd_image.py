"""Ansible module: OCI archives that lie on the host, imported into containerd and pinned."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: containerd_image
short_description: Import OCI archives into containerd's Kubernetes namespace
description:
  - An image is imported when containerd has no image of that name and manifest digest.
  - Imported images are pinned, so that the kubelet's garbage collector leaves them.
options:
  images:
    description: Name, manifest digest and archive of each image.
    type: list
    elements: dict
    required: true
author: The regional PACS maintainers
"""

CTR = "/usr/local/bin/ctr"


def present(module: AnsibleModule) -> dict[str, str]:
    """Digest by name of the images that containerd has and that are pinned."""
    status, output, error = module.run_command([CTR, "--namespace", "k8s.io", "images", "list"])
    if status:
        if module.check_mode:
            return {}
        module.fail_json(
            msg=f"containerd does not answer: {error.strip()}; look at `systemctl status containerd`"
        )
    found = {}
    for line in output.splitlines()[1:]:
        fields = line.split()
        if "io.cri-containerd.pinned=pinned" in line:
            found[fields[0]] = fields[2]
    return found


def main() -> None:
    """Import what is missing."""
    module = AnsibleModule(
        argument_spec={"images": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=True,
    )
    here = present(module)
    missing = [image for image in module.params["images"] if here.get(image["reference"]) != image["digest"]]
    if not module.check_mode:
        for image in missing:
            for command in (
                [
                    CTR,
                    "--namespace",
                    "k8s.io",
                    "images",
                    "import",
                    "--local",
                    "--no-unpack=false",
                    image["archive"],
                ],
                [
                    CTR,
                    "--namespace",
                    "k8s.io",
                    "images",
                    "label",
                    image["reference"],
                    "io.cri-containerd.pinned=pinned",
                ],
            ):
                status, _, error = module.run_command(command)
                if status:
                    module.fail_json(msg=f"{' '.join(command)}: {error.strip()}")
    module.exit_json(changed=bool(missing), imported=[image["reference"] for image in missing])


if __name__ == "__main__":
    main()
