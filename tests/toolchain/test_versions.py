"""versions.yaml: of its shape, and agreeing with the Go modules that are built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolchain.build import without_lines
from toolchain.errors import BuildError, VersionsError
from toolchain.versions import TOOLCHAIN, cache_key, expand, load, versions

GROUPS = sorted(versions().tools)


@pytest.mark.parametrize("group", GROUPS)
def test_the_built_module_has_the_version_that_is_named(group: str) -> None:
    tool = versions().tools[group]
    text = (TOOLCHAIN / group / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^(?:require )?\s*{re.escape(tool.build.module)} (\S+)", text, re.MULTILINE)
    if f"module {tool.build.module}\n" in text:
        return  # its main package is our own, of a few lines
    assert found is not None
    assert found.group(1) == (tool.build.module_version or f"v{tool.version}")


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_its_sums(group: str) -> None:
    text = (TOOLCHAIN / group / "go.mod").read_text(encoding="utf-8")
    if "require" in text:
        assert (TOOLCHAIN / group / "go.sum").stat().st_size


@pytest.mark.parametrize("group", GROUPS)
def test_no_group_wants_a_newer_go_than_the_pinned_one(group: str) -> None:
    text = (TOOLCHAIN / group / "go.mod").read_text(encoding="utf-8")
    wanted = re.search(r"^go (\S+)", text, re.MULTILINE)
    assert wanted is not None
    numbers = [int(part) for part in wanted.group(1).split(".")]
    assert numbers <= [int(part) for part in versions().go.version.split(".")]


def test_every_group_in_the_tree_is_in_the_file() -> None:
    assert sorted(path.parent.name for path in TOOLCHAIN.glob("*/go.mod")) == GROUPS


@pytest.mark.parametrize("group", [name for name in GROUPS if versions().tools[name].release])
def test_every_template_can_be_filled(group: str) -> None:
    tool = versions().tools[group]
    assert tool.release is not None
    for template in (tool.release.url, tool.release.checksums, *tool.release.members.values()):
        text = expand(template, tool.version, binary=tool.binaries[0])
        assert "{" not in text
        assert tool.version in text or template in tool.release.members.values()


def test_a_released_archive_gives_every_binary_of_its_group() -> None:
    for group, tool in versions().tools.items():
        if tool.release and tool.release.members:
            assert set(tool.binaries) <= set(tool.release.members), group


def test_manifests_belong_to_tools() -> None:
    assert set(versions().manifests) <= set(versions().tools)


def test_the_python_side_of_pulumi_has_the_same_versions() -> None:
    project = (TOOLCHAIN.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"pulumi=={versions().tools["pulumi"].version}"' in project
    assert f'"pulumi-kubernetes=={versions().tools["pulumi_kubernetes"].version}"' in project


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("go: {version: latest, sum: {}}", "go.version"),
        ("go: {version: 1.2.3, sum: {amd64: h1:short}}", "go.sum.amd64"),
        ("go: {version: 1.2.3, sum: {}, mirror: x}", "go.mirror"),
    ],
)
def test_a_wrong_key_is_named_with_its_path(line: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "versions.yaml"
    file.write_text(f"{line}\ntools: {{}}\nmanifests: {{}}\n", encoding="utf-8")
    with pytest.raises(VersionsError, match=re.escape(key)):
        load(file)


def test_a_path_out_of_a_module_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "versions.yaml"
    file.write_text(
        "go: {version: 1.2.3, sum: {}}\ntools: {}\nmanifests: {rook: {a.yaml: ../../etc/passwd}}\n",
        encoding="utf-8",
    )
    with pytest.raises(VersionsError, match=r"manifests\.rook\.a\.yaml"):
        load(file)


def test_the_cache_key_follows_the_modules_and_not_the_download_address(tmp_path: Path) -> None:
    tool = versions().tools["etcd"]
    (tmp_path / "go.mod").write_text("module a\n", encoding="utf-8")
    before = cache_key("etcd", tool, tmp_path)
    assert cache_key("etcd", tool.model_copy(update={"release": None}), tmp_path) == before
    (tmp_path / "go.sum").write_text("x v1 h1:\n", encoding="utf-8")
    changed = cache_key("etcd", tool, tmp_path)
    assert changed != before
    assert cache_key("etcd", tool.model_copy(update={"version": "3.6.17"}), tmp_path) != changed


def test_an_optional_group_comes_only_when_it_is_named() -> None:
    optional = {group for group, tool in versions().tools.items() if tool.optional}
    assert optional == {"distribution", "flannel"}
    assert set(versions().usual) == set(versions().tools) - optional


def test_lines_that_are_left_out_must_have_been_there(tmp_path: Path) -> None:
    file = tmp_path / "main.go"
    file.write_text('import (\n\t_ "a/udp"\n\t_ "a/vxlan"\n)\n', encoding="utf-8")
    without_lines(file, ['a/udp"'])
    assert file.read_text(encoding="utf-8") == 'import (\n\t_ "a/vxlan"\n)\n'
    with pytest.raises(BuildError, match='a/udp"'):
        without_lines(file, ['a/udp"'])


def test_a_group_without_omitted_lines_keeps_the_key_that_older_caches_have() -> None:
    tool = versions().tools["flannel"]
    kept = tool.model_copy(update={"build": tool.build.model_copy(update={"omit": []})})
    assert cache_key("flannel", kept) != cache_key("flannel", tool)
    assert "omit" not in kept.build.model_dump(exclude_defaults=True)
