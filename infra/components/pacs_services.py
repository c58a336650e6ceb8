"""The PACS's own services at the centre: the archive, and the CA that branches enrol with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi

from infra import naming
from infra.components.certificates import ARCHIVE_IDENTITY, ARCHIVE_WRAPPING_KEYS, CA_IDENTITY, TRUST
from infra.components.pods import (
    Object,
    container,
    digest_annotation,
    labels,
    pod_spec,
    probe,
    resources,
    spread,
)
from infra.components.workloads import config_map, disruption_budget, service, stateful_set
from infra.config.region import RegionConfig
from infra.credentials import Credentials
from infra.layout.sizing import RENDERING_BYTES, archive_limit_bytes, size_bytes
from infra.supplies import Supplies

_MAKE_BUCKET = Path(__file__).with_name("make_bucket.py")

_HTTP, _INTERNAL, _DIMSE, _CA = 8080, 8090, 11112, 9000


@dataclass(frozen=True)
class PacsServicesArgs:
    """The region, its credentials (for what is public in them), and the images."""

    region: RegionConfig
    credentials: Credentials
    supplies: Supplies


class PacsServices(pulumi.ComponentResource):
    """The archive (a StatefulSet: each replica has a spool of its own) and step-ca, with their Services."""

    def __init__(self, name: str, args: PacsServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("pacs:services:PacsServices", name, {}, opts)
        self._archive(args)
        self._ca(args)
        self.register_outputs({})

    def _archive(self, args: PacsServicesArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        region = args.region
        service(naming.ARCHIVE, naming.PACS, {"http": _HTTP, "internal": _INTERNAL}, opts=child)
        service(
            "archive-pods",
            naming.PACS,
            {"internal": _INTERNAL},
            selects=labels(naming.ARCHIVE),
            headless=True,
            opts=child,
        )
        if region.archive.calling:
            service(
                "archive-dimse",
                naming.PACS,
                {"dimse": _DIMSE},
                selects=labels(naming.ARCHIVE),
                node_port=region.archive.dimse_node_port,
                opts=child,
            )
        stateful_set(
            naming.ARCHIVE,
            naming.PACS,
            archive_pod(region, args.supplies),
            replicas=region.archive.replicas,
            claims={"spool": region.archive.spool_size},
            annotations=digest_annotation(
                args.credentials.archive.chain,
                args.credentials.receipts.chain,
                args.credentials.token_keys,
                [key.key_id for key in args.credentials.wrapping_keys.keys],
            ),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="10m")),
        )
        if region.archive.replicas > 1:
            disruption_budget(naming.ARCHIVE, naming.PACS, child)

    def _ca(self, args: PacsServicesArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        configuration = args.credentials.enrolment_configuration
        config_map("ca-configuration", naming.PACS, {"ca.json": configuration}, child)
        service(naming.CA, naming.PACS, {"https": _CA}, opts=child)
        stateful_set(
            naming.CA,
            naming.PACS,
            ca_pod(args.supplies),
            # One: its database remembers which one-time tokens were used.
            replicas=1,
            claims={"database": "1Gi"},
            annotations=digest_annotation(configuration, args.credentials.enrolment.chain),
            opts=child,
        )


def archive_environment(region: RegionConfig) -> dict[str, str]:
    """Settings of the centre's archive (`services.archive.settings`); secrets are files."""
    return {
        "PACS_REGION": region.region.name,
        "PACS_INSTITUTION": region.archive.institution,
        "PACS_SITE": naming.CENTRE,
        "PACS_AE_TITLE": region.archive.ae_title,
        "PACS_HTTP_PORT": str(_HTTP),
        # Ingest (with the gateway's key only) and metrics, for the gateway and Prometheus.
        "PACS_INTERNAL_HOST": "0.0.0.0",  # noqa: S104 - the pod network; network policies say who
        "PACS_INTERNAL_PORT": str(_INTERNAL),
        "PACS_TLS_CERTIFICATE_FILE": "/run/pacs/identity/tls.crt",
        "PACS_TLS_KEY_FILE": "/run/pacs/identity/tls.key",
        "PACS_DIMSE_PORT": str(_DIMSE),
        # The node port keeps the caller's own address, so that title and network can be judged together.
        "PACS_DIMSE_CALLERS": json.dumps([peer.model_dump() for peer in region.archive.calling]),
        "PACS_EPOCH": str(region.region.epoch),
        "PACS_MEMORY_BYTES": str(size_bytes(region.archive.memory)),
        "PACS_RENDERING_WORKERS": str(region.archive.rendering_workers),
        "PACS_RENDERING_MEMORY_BYTES": str(RENDERING_BYTES),
        "PACS_SPOOL_DIRECTORY": "/var/lib/pacs/spool",
        "PACS_QUARANTINE_DIRECTORY": "/var/lib/pacs/quarantine",
        "PACS_STORE": "rgw",
        "PACS_STORE_ENDPOINT": f"https://{naming.object_store_host()}:443",
        "PACS_STORE_BUCKET": region.object_store.bucket,
        "PACS_STORE_ACCESS_KEY_FILE": "/run/pacs/store/AccessKey",
        "PACS_STORE_SECRET_KEY_FILE": "/run/pacs/store/SecretKey",
        "PACS_STORE_CA_FILE": "/run/pacs/trust/root.crt",
        "PACS_WRAPPING_KEYS_FILE": "/run/pacs/keys/wrapping-keys.json",
        "PACS_DATABASE_URL_FILE": "/run/pacs/database/uri",
        # libpq takes these where the URL is silent: the server's name is checked against the region's root.
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/run/pacs/trust/root.crt",
        "PACS_TOKEN_JWKS_FILE": "/run/pacs/trust/tokens.jwks.json",
        "PACS_RECEIPT_KEY_FILE": "/run/pacs/identity/receipts.key",
        "PACS_RECEIPT_CERTIFICATE_FILE": "/run/pacs/identity/receipts.crt",
        "PACS_GATEWAY_KEY_FILE": "/run/pacs/identity/gateway.key",
    }


def archive_pod(region: RegionConfig, supplies: Supplies) -> Object:
    """The archive's pod. It has two minutes to seal and commit what it acknowledged before it is ended."""
    mounts = {
        "/var/lib/pacs": "spool!",
        "/run/pacs/store": "store",
        "/run/pacs/database": "database",
        "/run/pacs/trust": "trust",
        "/run/pacs/identity": "identity",
        "/run/pacs/keys": "keys",
    }
    image, pull_policy = supplies.images["services"], supplies.pull_policy
    environment = [{"name": name, "value": value} for name, value in archive_environment(region).items()]
    bucket = container(
        "bucket",
        image,
        pull_policy,
        mounts,
        command=["/usr/bin/python3", "-c", _MAKE_BUCKET.read_text(encoding="utf-8")],
        env=environment,
    )
    migrate = container(
        "migrate", image, pull_policy, mounts, args=["services.archive", "migrate"], env=environment
    )
    main = container(
        "archive",
        image,
        pull_policy,
        mounts,
        args=["services.archive"],
        env=environment,
        ports=[
            {"name": "http", "containerPort": _HTTP},
            {"name": "internal", "containerPort": _INTERNAL},
            {"name": "dimse", "containerPort": _DIMSE},
        ],
        resources=resources(
            region.archive.cpu,
            region.archive.memory,
            str(archive_limit_bytes(size_bytes(region.archive.memory), region.archive.rendering_workers)),
        ),
        startupProbe=probe("/healthz", _HTTP, scheme="HTTPS", period=3, failures=60),
        livenessProbe=probe("/healthz", _HTTP, scheme="HTTPS"),
        readinessProbe=probe("/readyz", _HTTP, scheme="HTTPS", period=5),
    )
    volumes = [
        _secret("store", naming.object_store_credentials(), ["AccessKey", "SecretKey"]),
        _secret("database", naming.database_credentials(), ["uri"]),
        {"name": "trust", "configMap": {"name": TRUST}},
        _secret(
            "identity",
            ARCHIVE_IDENTITY,
            ["tls.crt", "tls.key", "receipts.crt", "receipts.key", "gateway.key"],
        ),
        _secret("keys", ARCHIVE_WRAPPING_KEYS, ["wrapping-keys.json"]),
    ]
    return pod_spec(
        [main],
        volumes,
        # Each may find its dependency away, ends, and is run again until it is there.
        initContainers=[bucket, migrate],
        terminationGracePeriodSeconds=120,
        topologySpreadConstraints=spread(naming.ARCHIVE),
    )


def ca_pod(supplies: Supplies) -> Object:
    """step-ca: signs CSRs of branches that hold a one-time token, and renews what it signed."""
    mounts = {"/run/pacs/ca": "identity", "/etc/step-ca": "configuration", "/var/lib/step-ca": "database!"}
    main = container(
        "step-ca",
        supplies.images["step-ca"],
        supplies.pull_policy,
        mounts,
        args=["/etc/step-ca/ca.json"],
        env=[{"name": "STEPPATH", "value": "/tmp/step"}],  # noqa: S108 - a volume of the pod's own
        ports=[{"name": "https", "containerPort": _CA}],
        resources=resources("20m", "256Mi"),
        livenessProbe=probe("/health", _CA, scheme="HTTPS"),
        readinessProbe=probe("/health", _CA, scheme="HTTPS", period=5),
    )
    volumes = [
        _secret("identity", CA_IDENTITY, ["root.crt", "sites.crt", "sites.key"]),
        {"name": "configuration", "configMap": {"name": "ca-configuration"}},
    ]
    return pod_spec([main], volumes)


def _secret(volume: str, name: str, keys: list[str]) -> Object:
    items = [{"key": key, "path": key} for key in keys]
    return {"name": volume, "secret": {"secretName": name, "defaultMode": 0o440, "items": items}}
