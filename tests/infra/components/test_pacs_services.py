from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from infra.components.certificates import second_copy_files
from infra.components.pacs_services import archive_environment, archive_pod, ca_pod
from infra.config.region import load_region
from infra.config.sections import SecondCopy
from infra.credentials import ServerIdentity
from infra.pki.enrolment import StepCaSettings
from infra.pki.region_ca import RegionNames
from infra.pki.second_copy import SecondCopyAccess
from services.archive.settings import ArchiveSettings
from tests.infra.conftest import Built, plain_values, revealed, run, supplies_for


@pytest.mark.parametrize("stack", ["local", "yanan"])
def test_the_archive_understands_every_setting_it_is_given(
    stack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = archive_environment(load_region(stack))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = ArchiveSettings()  # type: ignore[call-arg]
    known = {f"PACS_{name.upper()}" for name in ArchiveSettings.model_fields}
    assert {name for name in environment if name.startswith("PACS_")} <= known
    assert settings.store == "rgw"
    assert settings.site == "centre"
    wanted = [(peer.ae_title, peer.network) for peer in load_region(stack).archive.calling]
    assert [(caller.ae_title, str(caller.network)) for caller in settings.dimse_callers] == wanted
    for peer, caller in zip(load_region(stack).archive.calling, settings.dimse_callers, strict=True):
        assert caller.institutions == (None if peer.institutions is None else frozenset(peer.institutions))
        assert caller.moves_to == frozenset(peer.moves_to)
    declared = [one.model_dump() for one in load_region(stack).archive.destinations]
    assert [asdict(one) for one in settings.dimse_destinations] == declared


def test_the_centres_dimse_port_is_open_only_where_somebody_may_call(built: Built) -> None:
    services = {entry.inputs["metadata"]["name"]: entry for entry in built.applied.of_type(":Service")}
    assert ("archive-dimse" in services) == bool(built.region.archive.calling)
    if "archive-dimse" in services:
        # Another policy would show the archive the node's address in place of the caller's.
        assert services["archive-dimse"].inputs["spec"]["externalTrafficPolicy"] == "Local"


def test_every_file_that_the_archive_is_told_of_lies_on_a_mounted_volume() -> None:
    region = load_region("local")
    (container,) = archive_pod(region, supplies_for(region, Path("/state")))["containers"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    for variable in container["env"]:
        if variable["value"].startswith("/"):
            assert any(variable["value"].startswith(f"{mount}/") for mount in mounts), variable


def test_the_archive_is_probed_as_it_listens() -> None:
    region = load_region("local")
    (container,) = archive_pod(region, supplies_for(region, Path("/state")))["containers"]
    probes = [container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {probe["scheme"] for probe in probes} == {"HTTPS"}


def test_a_renewed_certificate_rolls_the_archive(built: Built) -> None:
    region, before = built.region, built.credentials.archive
    renewed = replace(built.credentials, archive=ServerIdentity(built.credentials.gateway.chain, before.key))
    after = run(region, supplies_for(region, Path("/state")), renewed)
    first, second = (
        recording.one("apps/v1:StatefulSet", "archive").inputs["spec"]["template"]["metadata"]["annotations"]
        for recording in (built.applied, after)
    )
    assert first != second


def test_the_wrapping_keys_reach_the_archive_alone_and_as_a_secret(built: Built) -> None:
    (key,) = built.credentials.wrapping_keys.keys
    encoded = base64.b64encode(key.material).decode()
    shown = [text for entry in built.applied.registrations for text in plain_values(entry.inputs)]
    assert [text for text in shown if encoded in text] == []
    holders = [
        entry.name for entry in built.applied.registrations if encoded in json.dumps(revealed(entry.inputs))
    ]
    assert holders == ["archive-wrapping-keys"]
    users = [
        entry.name
        for entry in built.applied.registrations
        if "archive-wrapping-keys" in json.dumps(revealed(entry.inputs).get("spec", {}))
    ]
    assert users == ["archive"]


def test_the_archive_gets_the_second_copys_access_where_there_is_one(built: Built) -> None:
    copy = built.region.object_store.second_copy
    secrets = [
        revealed(entry.inputs)["stringData"]
        for entry in built.applied.of_type("core/v1:Secret")
        if entry.name == "archive-second-copy"
    ]
    environment = archive_environment(built.region)
    if copy is None:
        assert secrets == []
        assert not any(name.startswith("PACS_SECOND_COPY") for name in environment)
        return
    assert secrets == [{"access-key": "AKSECOND", "secret-key": "of-the-second-site"}]
    assert environment["PACS_SECOND_COPY_ENDPOINT"] == copy.endpoint
    shown = [text for entry in built.applied.registrations for text in plain_values(entry.inputs)]
    assert [text for text in shown if "of-the-second-site" in text] == []


def test_a_second_sites_own_authorities_are_mounted_and_named() -> None:
    region = load_region("yanan")
    copy = SecondCopy(endpoint="https://s3.example:8443", bucket="second", credentials="x", trust="x.pem")
    store = region.object_store.model_copy(update={"second_copy": copy})
    region = region.model_copy(update={"object_store": store})
    assert archive_environment(region)["PACS_SECOND_COPY_CA_FILE"] == "/run/pacs/second-copy/trust.crt"
    pod = archive_pod(region, supplies_for(region, Path("/state")))
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "second-copy"]
    assert [item["key"] for item in volume["secret"]["items"]] == ["access-key", "secret-key", "trust.crt"]
    assert second_copy_files(SecondCopyAccess("a", "s", "PEM"))["trust.crt"] == "PEM"
    assert store.second_copy_port == 8443


def test_another_wrapping_key_rolls_the_archive(built: Built) -> None:
    keys = built.credentials.wrapping_keys.rotated("2026-02-01T00:00:00.000000Z")
    after = run(
        built.region,
        supplies_for(built.region, Path("/state")),
        replace(built.credentials, wrapping_keys=keys),
    )
    first, second = (
        recording.one("apps/v1:StatefulSet", "archive").inputs["spec"]["template"]["metadata"]["annotations"]
        for recording in (built.applied, after)
    )
    assert first != second


def test_no_secret_is_in_an_environment_variable() -> None:
    region = load_region("local")
    (container,) = archive_pod(region, supplies_for(region, Path("/state")))["containers"]
    assert all("valueFrom" not in variable for variable in container["env"])


def test_the_archive_checks_the_database_servers_name() -> None:
    assert archive_environment(load_region("local"))["PGSSLMODE"] == "verify-full"


def test_the_ca_finds_its_files_where_its_configuration_says() -> None:
    (container,) = ca_pod(supplies_for(load_region("local"), Path("/state")))["containers"]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    settings = StepCaSettings(RegionNames("local", "pacs.local.test"))
    assert {str(settings.key.parent), str(settings.database.parent)} <= mounts
