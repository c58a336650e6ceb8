"""Secrets and ConfigMaps that carry the region's certificates and keys to the pods that use them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import yaml
from cryptography import x509
from pulumi_kubernetes.core.v1 import ConfigMap, Secret

from infra import naming
from infra.credentials import Credentials, ServerIdentity
from infra.pki.second_copy import SecondCopyAccess

GATEWAY_IDENTITY = "gateway-identity"
CA_IDENTITY = "ca-identity"
ARCHIVE_IDENTITY = "archive-identity"
ARCHIVE_WRAPPING_KEYS = "archive-wrapping-keys"
ARCHIVE_SECOND_COPY = "archive-second-copy"
TRUST = "region-trust"


@dataclass(frozen=True)
class CertificatesArgs:
    """The region's credentials; private halves become secrets before they reach a resource."""

    credentials: Credentials


class Certificates(pulumi.ComponentResource):
    """One Secret for each holder of a private key, none with a key that its holder does not need."""

    def __init__(self, name: str, args: CertificatesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:security:Certificates", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        given = args.credentials
        self._tls(naming.OBJECT_STORE_TLS, naming.CEPH, given.object_store)
        self._tls(naming.DATABASE_TLS, naming.PACS, given.database)
        self._tls(naming.MONITORING_TLS, naming.MONITORING, given.monitoring)
        # CloudNativePG looks for ca.crt under this name; without the CA's key, so it will not sign anything.
        self._opaque(naming.DATABASE_CA, naming.PACS, {"ca.crt": given.root})
        gateway = {**_pair(given.gateway), "root.crt": given.root, "sites.crl": given.revocation_list}
        gateway["gateway.key"] = given.gateway_key
        self._opaque(GATEWAY_IDENTITY, naming.PACS, gateway)
        ca = {"root.crt": given.root, "sites.crt": given.enrolment.chain, "sites.key": given.enrolment.key}
        self._opaque(CA_IDENTITY, naming.PACS, ca)
        archive = {
            **_pair(given.archive),
            "receipts.crt": given.receipts.chain,
            "receipts.key": given.receipts.key,
        }
        archive["gateway.key"] = given.gateway_key
        self._opaque(ARCHIVE_IDENTITY, naming.PACS, archive)
        wrapping_keys = given.wrapping_keys.document().decode()
        self._opaque(ARCHIVE_WRAPPING_KEYS, naming.PACS, {"wrapping-keys.json": wrapping_keys})
        if given.second_copy is not None:
            self._opaque(ARCHIVE_SECOND_COPY, naming.PACS, second_copy_files(given.second_copy))
        ConfigMap(
            TRUST,
            metadata={"name": TRUST, "namespace": naming.PACS},
            data={"root.crt": given.root, "tokens.jwks.json": given.token_keys},
            opts=child,
        )
        self.register_outputs({})

    def _tls(self, name: str, namespace: str, identity: ServerIdentity) -> None:
        labels = {"cnpg.io/reload": ""} if namespace == naming.PACS else {}
        self._secret(name, namespace, "kubernetes.io/tls", _pair(identity), labels)

    def _opaque(self, name: str, namespace: str, files: Mapping[str, str]) -> None:
        self._secret(name, namespace, "Opaque", files, {})

    def _secret(
        self, name: str, namespace: str, kind: str, files: Mapping[str, str], labels: Mapping[str, str]
    ) -> None:
        Secret(
            name,
            # The API server drops an empty map; declared, it would be a difference for ever.
            metadata={"name": name, "namespace": namespace, **({"labels": dict(labels)} if labels else {})},
            type=kind,
            string_data=pulumi.Output.secret(dict(files)),
            opts=pulumi.ResourceOptions(parent=self),
        )


def second_copy_files(access: SecondCopyAccess) -> dict[str, str]:
    """File names and contents that the archive reads of the second site."""
    files = {"access-key": access.access_key, "secret-key": access.secret_key}
    return files | ({"trust.crt": access.trust} if access.trust is not None else {})


def expiry_rules(credentials: Credentials) -> str:
    """A Prometheus rule file that tells when each certificate of the centre ends, as it was issued.

    What serves them shows no such figure itself; `up` renews them with a third of their life left.
    """
    issued = {
        "gateway": credentials.gateway.chain,
        "archive": credentials.archive.chain,
        "object store": credentials.object_store.chain,
        "database": credentials.database.chain,
        "monitoring": credentials.monitoring.chain,
        "receipts": credentials.receipts.chain,
        "enrolment CA": credentials.enrolment.chain,
        "root": credentials.root,
    }
    rules = [
        {
            "record": "pacs_centre_certificate_end_timestamp_seconds",
            "expr": f"vector({_end(pem)})",
            "labels": {"site": naming.CENTRE, "certificate": name},
        }
        for name, pem in issued.items()
    ]
    group = {"name": "pacs-certificates", "interval": "1m", "rules": rules}
    return yaml.safe_dump({"groups": [group]}, sort_keys=False)


def _end(pem: str) -> int:
    """When the first of a chain's certificates ends, in seconds since 1970."""
    chain = x509.load_pem_x509_certificates(pem.encode())
    return int(min(certificate.not_valid_after_utc for certificate in chain).timestamp())


def _pair(identity: ServerIdentity) -> dict[str, str]:
    return {"tls.crt": identity.chain, "tls.key": identity.key}
