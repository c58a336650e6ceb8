"""A vendor's released manifest, object by object, with our changes applied to plain data.

Not `yaml.ConfigGroup`: that one asks the provider to decode the text, which it cannot do in a preview before
there is a cluster, so that the preview would list nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import yaml

from infra.components.pods import Object

Patch = Callable[[Object], Object | None]
"""Takes an object and gives it back changed, or None to leave it out."""


class Manifests(pulumi.ComponentResource):
    """Registers every object under a logical name of the component, its kind and its own name."""

    def __init__(
        self, name: str, documents: Iterable[Object], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("pacs:kubernetes:Manifests", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        for document in documents:
            KubernetesObject(f"{name}:{document['kind']}/{document['metadata']['name']}", document, child)
        self.register_outputs({})


class KubernetesObject(pulumi.CustomResource):
    """Any Kubernetes object as plain data, registered under the type that pulumi-kubernetes gives it."""

    def __init__(self, name: str, document: Object, opts: pulumi.ResourceOptions) -> None:
        super().__init__(type_token(document["apiVersion"], document["kind"]), name, dict(document), opts)


def type_token(api_version: str, kind: str) -> str:
    """The Pulumi type of a Kubernetes object, such as `kubernetes:core/v1:Secret`."""
    qualified = api_version if "/" in api_version else f"core/{api_version}"
    return f"kubernetes:{qualified}:{kind}"


def read(path: Path, *patches: Patch) -> list[Object]:
    """The objects of a manifest file in their order, each through the patches."""
    with path.open(encoding="utf-8") as file:
        documents = [document for document in yaml.load_all(file, Loader=_LOADER) if document]
    return list(_patched(documents, patches))


# libyaml's loader where PyYAML was built with it: the CRDs of Rook and CloudNativePG are 2 MB of text.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _patched(documents: Iterable[Object], patches: tuple[Patch, ...]) -> Iterator[Object]:
    for document in documents:
        result: Object | None = document
        for patch in patches:
            if result is not None:
                result = patch(result)
        if result is not None:
            yield result


def without_namespaces(document: Object) -> Object | None:
    """Namespaces are ours: they carry the Pod Security labels."""
    return None if document["kind"] == "Namespace" else document


def container_of(document: Object) -> Object:
    """The first container of a Deployment."""
    container: Object = document["spec"]["template"]["spec"]["containers"][0]
    return container
