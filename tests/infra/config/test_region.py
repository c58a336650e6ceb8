from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import yaml

from infra.config import region as module
from infra.config.region import (
    CONFIG_KEY,
    RegionConfig,
    RegionConfigError,
    load_region,
    parse_region,
    stack_file,
)
from infra.config.schema import SCHEMA_FILE, render

Document = dict[str, Any]
Change = Callable[[Document], object]


def document(stack: str = "local") -> Document:
    text = stack_file(stack).read_text(encoding="utf-8")
    found: Document = yaml.safe_load(text)["config"][CONFIG_KEY]
    return found


def refusal(change: Change, stack: str = "local") -> str:
    """The text with which a changed stack is refused."""
    changed = copy.deepcopy(document(stack))
    change(changed)
    with pytest.raises(RegionConfigError) as caught:
        parse_region(changed, source="test")
    return str(caught.value)


def second_branch(region: Document, **changes: Any) -> None:
    branch = copy.deepcopy(region["branches"][0])
    lan = {"lan": "10.91.2.0/30", "lan_address": "10.91.2.2"}
    branch |= {"site": "luochuan", "address": "10.90.0.22", "ae_title": "LUOCHUAN", **lan}
    branch["calling"] = [{"ae_title": "CT1", "network": "10.91.2.0/30"}]
    region["branches"].append(branch | changes)


@pytest.mark.parametrize("stack", ["local", "yanan"])
def test_a_stack_read_from_its_file_and_from_pulumi_is_the_same_region(stack: str) -> None:
    assert load_region(stack) == parse_region(json.dumps(document(stack)), source="pulumi")


def test_a_region_dumps_to_what_it_was_read_from() -> None:
    region = load_region("local")
    assert RegionConfig.model_validate(region.model_dump(mode="json")) == region


def test_a_missing_stack_is_refused_with_the_stacks_there_are() -> None:
    with pytest.raises(RegionConfigError, match=r"no stack 'lokal'.*stacks: local, yanan"):
        load_region("lokal")


def test_a_stack_file_that_is_not_yaml_is_refused_with_its_path(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pulumi.broken.yaml").write_text("config: [")
    monkeypatch.setattr(module, "STACKS", tmp_path)
    with pytest.raises(RegionConfigError, match=r"Pulumi\.broken\.yaml: not YAML"):
        load_region("broken")


@pytest.mark.parametrize("text", ["", "config: {}", "config: {'pacs:region': 1}", "[]"])
def test_a_stack_file_without_a_region_is_refused(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "Pulumi.empty.yaml").write_text(text)
    monkeypatch.setattr(module, "STACKS", tmp_path)
    with pytest.raises(RegionConfigError):
        load_region("empty")


def test_an_unknown_key_is_reported_with_its_full_path_and_a_guess() -> None:
    text = refusal(lambda region: region["branches"][0].update(ae_titel="X"))
    assert "pacs:region.branches[0].ae_titel: unknown key; did you mean 'ae_title'?" in text


def test_an_unknown_key_inside_a_variant_has_the_path_that_is_in_the_file() -> None:
    text = refusal(lambda region: region["images"].update(registri="x"))
    assert "pacs:region.images.registri: unknown key" in text


def test_an_ill_typed_key_is_reported_with_its_path_and_value() -> None:
    assert "pacs:region.region.epoch: got 'one'" in refusal(
        lambda region: region["region"].update(epoch="one")
    )


def test_a_missing_key_is_reported_with_its_path() -> None:
    assert "pacs:region.archive.cpu: required" in refusal(lambda region: region["archive"].pop("cpu"))


def test_who_may_call_the_centre_must_be_said() -> None:
    assert "pacs:region.archive.calling: required" in refusal(lambda region: region["archive"].pop("calling"))


def test_every_fault_of_a_file_is_reported_at_once() -> None:
    def change(region: Document) -> None:
        region["region"]["epoch"] = 0
        region["database"]["size"] = "4GB"

    text = refusal(change)
    assert "region.epoch" in text
    assert "database.size" in text


RULES: list[tuple[str, str, Change]] = [
    ("overlapping networks", "networks overlap", lambda r: r["network"].update(pods="10.90.0.0/16")),
    ("two hosts of one name", "host names used twice", lambda r: second_branch(r, site="dc1")),
    ("a site of the data centre's name", "Rename the site", lambda r: second_branch(r, site="centre")),
    ("two hosts of one address", "addresses used twice", lambda r: second_branch(r, address="10.90.0.21")),
    ("two LANs on this machine alike", "networks overlap", lambda r: second_branch(r, lan="10.91.1.0/30")),
    (
        "a host outside the management network",
        "network.management",
        lambda r: second_branch(r, address="10.9.0.1"),
    ),
    ("an edge outside its LAN", "lan_address", lambda r: r["branches"][0].update(lan_address="10.91.9.2")),
    (
        "a caller of the centre from the internet",
        "archive: calling GATEWAY from 0.0.0.0/0",
        lambda r: r["archive"].update(calling=[{"ae_title": "GATEWAY", "network": "0.0.0.0/0"}]),
    ),
    (
        "a caller of the centre with an archive's name",
        "archive: calling AE titles",
        lambda r: r["archive"].update(calling=[{"ae_title": "YANCHANG", "network": "10.0.0.0/28"}]),
    ),
    (
        "a device outside the hospital",
        "inside its lan",
        lambda r: r["branches"][0]["calling"][0].update(network="10.0.0.0/8"),
    ),
    ("two archives of one AE title", "AE titles used twice", lambda r: second_branch(r, ae_title="YANCHANG")),
    (
        "a device with an archive's AE title",
        "archives of this region",
        lambda r: r["branches"][0]["calling"][0].update(ae_title="PACSCENTRE"),
    ),
    (
        "a device listed twice",
        "listed twice",
        lambda r: r["branches"][0]["calling"][1].update(ae_title="CT1"),
    ),
    (
        "a caller that may see an unknown institution",
        "some of ['yanan']",
        lambda r: r["branches"][0]["calling"][0].update(institutions=["nowhere"]),
    ),
    (
        "a caller that sends to a system that is not declared",
        "AE titles under its destinations",
        lambda r: r["branches"][0]["calling"][0].update(moves_to=["WS1"]),
    ),
    (
        "a destination outside the hospital without TLS",
        "destination WS1 at 10.1.1.1 without TLS",
        lambda r: r["branches"][0].update(destinations=[{"ae_title": "WS1", "host": "10.1.1.1"}]),
    ),
    (
        "a destination by name without TLS",
        "destination WS1 at ws.example.org without TLS",
        lambda r: r["archive"].update(destinations=[{"ae_title": "WS1", "host": "ws.example.org"}]),
    ),
    (
        "a destination listed twice",
        "destinations listed twice",
        lambda r: r["archive"].update(destinations=[{"ae_title": "WS1", "host": "10.1.1.1"}] * 2),
    ),
    ("an unknown institution", "one of ['yanan']", lambda r: r["branches"][0].update(institution="nowhere")),
    ("an unknown refused site", "refused_sites", lambda r: r["gateway"].update(refused_sites=["nowhere"])),
    (
        "a device path on a made host",
        "Remove the device",
        lambda r: r["branches"][0]["disks"][0].update(device="/dev/sdb"),
    ),
    ("two control planes", "odd number", lambda r: r["datacenter"]["nodes"][0].update(roles=["storage"])),
    ("a storage node without disks", "Add a disk", lambda r: r["datacenter"]["nodes"][0].update(disks=[])),
    ("copies that have no place", "Add 1 devices", lambda r: r["object_store"]["data_pool"].update(size=2)),
    (
        "more monitors than nodes",
        "at most one of each a node",
        lambda r: r["object_store"].update(monitors=3),
    ),
    (
        "standbys without instances",
        "synchronous_standbys",
        lambda r: r["database"].update(synchronous_standbys=1),
    ),
    ("instances without a standby", "can be lost", lambda r: r["database"].update(instances=2)),
    ("one port for two services", "node port 443 twice", lambda r: r["archive"].update(dimse_node_port=443)),
    (
        "two disks that nobody joins",
        "name the volume and its usable size",
        lambda r: r["branches"][0]["disks"].append({"name": "second", "size": "8Gi"}),
    ),
    (
        "a retention that the disk cannot hold",
        "Give it a larger disk",
        lambda r: r["branches"][0].update(daily_volume="1Gi"),
    ),
    (
        "a gateway inside the pod network",
        "over the internet",
        lambda r: r["network"].update(gateway_address="10.244.0.9"),
    ),
]


@pytest.mark.parametrize(("name", "expected", "change"), RULES, ids=[rule[0] for rule in RULES])
def test_a_region_with(name: str, expected: str, change: Change) -> None:
    """...is refused, and the text says what is wrong."""
    assert expected in refusal(change)


PRODUCTION_RULES: list[tuple[str, str, Change]] = [
    (
        "erasure coding wider than its nodes",
        "Add 3 storage nodes",
        lambda r: r["object_store"].update(data_pool={"kind": "erasure", "data": 4, "coding": 2}),
    ),
    (
        "packs that cannot be written while one machine is away",
        "erasure coding 2+1, which takes no write while one of the storage nodes is away",
        lambda r: r["object_store"].update(data_pool={"kind": "erasure", "data": 2, "coding": 1}),
    ),
    (
        "cilium without its objects",
        "a cni_manifest for cilium",
        lambda r: r["network"].pop("cni_manifest"),
    ),
    (
        "objects of a pod network that nobody applies",
        "a cni_manifest for cilium, and for no other",
        lambda r: r["network"].update(cni="flannel"),
    ),
    (
        "a disk without a device",
        "/dev/disk/by-id",
        lambda r: r["datacenter"]["nodes"][0]["disks"][0].pop("device"),
    ),
    (
        "the one-node network for three",
        "Choose flannel or cilium",
        lambda r: r["network"].update(cni="bridge"),
    ),
]


@pytest.mark.parametrize(
    ("name", "expected", "change"), PRODUCTION_RULES, ids=[rule[0] for rule in PRODUCTION_RULES]
)
def test_a_production_region_with(name: str, expected: str, change: Change) -> None:
    """...is refused, and the text says what is wrong."""
    assert expected in refusal(change, "yanan")


def test_hospitals_that_do_not_share_a_machine_may_have_the_same_lan() -> None:
    region = document("yanan")
    for branch in region["branches"][:2]:
        branch |= {"lan": "192.168.1.0/24", "lan_address": "192.168.1.5"}
        branch["calling"] = [{"ae_title": "CT1", "network": "192.168.1.0/24"}]
        branch["destinations"] = []
    assert parse_region(region, source="test").branches[0].lan == "192.168.1.0/24"


def test_a_new_branch_is_one_entry() -> None:
    region = document()
    second_branch(region)
    assert [branch.site for branch in parse_region(region, source="test").branches] == [
        "yanchang",
        "luochuan",
    ]


def test_asking_for_an_unknown_branch_names_those_there_are() -> None:
    with pytest.raises(RegionConfigError, match="there are: yanchang"):
        load_region("local").branch("nowhere")


def test_the_schema_file_is_current() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == render(), "run: python -m infra.config.schema"


@pytest.mark.parametrize("stack", ["local", "yanan"])
def test_every_stack_file_meets_the_schema_that_editors_use(stack: str) -> None:
    jsonschema.validate({"config": {CONFIG_KEY: document(stack)}}, json.loads(render()))


def test_the_schema_refuses_an_unknown_key() -> None:
    region = document() | {"regoin": {}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"config": {CONFIG_KEY: region}}, json.loads(render()))


WITHOUT_EFFECT = {"Institution.title", "Branch.title"}
"""Names for whoever reads the file."""


def test_every_key_of_a_stack_file_is_read_by_the_program() -> None:
    folders = [module.STACKS.parent / name for name in ("infra", "cli", "load_tests")]
    sources = {path for folder in folders for path in folder.rglob("*.py")}
    program = "".join(path.read_text() for path in sources if path.name != "sections.py")
    schema = RegionConfig.model_json_schema()["$defs"]
    keys = {(section, key) for section, model in schema.items() for key in model.get("properties", {})}
    ignored = {f"{section}.{key}" for section, key in keys if not re.search(rf"\.{key}\b", program)}
    assert ignored == WITHOUT_EFFECT
