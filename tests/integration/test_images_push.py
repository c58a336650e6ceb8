"""`./pacs images push` against a real registry: what is sent, what is not sent again, and every refusal."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from cli import images as command
from cli import main
from cli.exit_codes import ExitCode
from infra import pushed_images
from infra.config import region as region_module
from infra.supplies import image_references
from tests.integration.registry import PUSHER, RegistryProcess, registry
from toolchain import oci
from toolchain.errors import RegistryError
from toolchain.images import Archive
from toolchain.registry import Registry
from toolchain.registry_login import Credentials

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def quiet(_have: int, _total: int) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    with registry(tmp_path_factory.mktemp("registry")) as process:
        yield process


@pytest.fixture
def trusted(running: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> RegistryProcess:
    """The registry, whose certificate the machine trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
    return running


def image(folder: Path, name: str, *contents: bytes) -> Archive:
    """An OCI archive with one layer a content."""
    layers = []
    for number, content in enumerate(contents):
        layers.append(folder / f"{name}-{number}.layer")
        oci.write_layer([oci.File(f"/{name}/{number}", content=content)], layers[-1])
    target = folder / f"{name}.tar"
    reference = f"pacs.local/{name}:0123456789ab"
    digest = oci.write_archive(reference, layers, oci.ImageConfig(entrypoint=("/x",)), target)
    return Archive(reference, digest, target)


def pull(running: RegistryProcess, path: str) -> httpx.Response:
    """What the registry gives to somebody who may read."""
    host = running.name.partition("/")[0]
    context = ssl.create_default_context(cafile=str(running.certificate))
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    return httpx.get(
        f"https://{host}/v2/pacs/{path}",
        headers=accept,
        verify=context,
        auth=(PUSHER.username, PUSHER.password),
    )


def test_what_was_pushed_is_pulled_by_its_digest_byte_for_byte(
    trusted: RegistryProcess, tmp_path: Path
) -> None:
    archive = image(tmp_path, "whole", b"a" * 3_000_000, b"b")
    with Registry(trusted.name, PUSHER) as client:
        pushed = client.push(archive.path, "whole:1", quiet)
    assert pushed.digest == archive.digest
    manifest = pull(trusted, f"whole/manifests/{archive.digest}")
    assert manifest.status_code == 200
    for layer in json.loads(manifest.content)["layers"]:
        content = pull(trusted, f"whole/blobs/{layer['digest']}").content
        assert len(content) == layer["size"]


def test_what_is_there_is_not_sent_again(trusted: RegistryProcess, tmp_path: Path) -> None:
    first = image(tmp_path, "again", b"shared" * 100_000, b"one")
    with Registry(trusted.name, PUSHER) as client:
        all_of_it = client.push(first.path, "again:1", quiet).sent
        assert client.push(first.path, "again:1", quiet).sent == 0
        second = image(tmp_path, "again", b"shared" * 100_000, b"two")
        # The first layer lies there already; only the other and the configuration travel.
        assert 0 < client.push(second.path, "again:2", quiet).sent < all_of_it - 500_000


def test_a_push_that_was_cut_off_continues(trusted: RegistryProcess, tmp_path: Path) -> None:
    archive = image(tmp_path, "cut", b"a" * 2_000_000, b"b" * 2_000_000)

    class CutError(Exception):
        """The operator has ended the run."""

    def cut_in_the_second_layer(have: int, _total: int) -> None:
        if have > 3_000_000:
            raise CutError

    with Registry(trusted.name, PUSHER) as client, pytest.raises(CutError):
        client.push(archive.path, "cut:1", cut_in_the_second_layer)
    assert pull(trusted, "cut/manifests/1").status_code == 404  # the tag comes last
    with Registry(trusted.name, PUSHER) as client:
        sent = client.push(archive.path, "cut:1", quiet).sent
    assert 2_000_000 < sent < 2_100_000


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (None, "asks who we are"),
        (Credentials("pusher", "wrong"), "does not let pusher push"),
    ],
)
def test_who_may_not_push_is_told_so_and_no_password(
    trusted: RegistryProcess, tmp_path: Path, credentials: Credentials | None, told: str
) -> None:
    archive = image(tmp_path, "refused", b"x")
    with Registry(trusted.name, credentials) as client, pytest.raises(RegistryError, match=told) as refusal:
        client.push(archive.path, "refused:1", quiet)
    assert "wrong" not in str(refusal.value)


def test_a_certificate_that_the_machine_does_not_trust_stops_everything(
    running: RegistryProcess, tmp_path: Path
) -> None:
    archive = image(tmp_path, "untrusted", b"x")
    with (
        Registry(running.name, PUSHER) as client,
        pytest.raises(RegistryError, match="is not trusted") as refusal,
    ):
        client.push(archive.path, "untrusted:1", quiet)
    assert "update-ca-certificates" in refusal.value.action


def test_no_registry_at_that_address_is_told(tmp_path: Path) -> None:
    archive = image(tmp_path, "nobody", b"x")
    with (
        Registry("127.0.0.1:1/pacs", PUSHER) as client,
        pytest.raises(RegistryError, match="cannot be reached"),
    ):
        client.push(archive.path, "nobody:1", quiet)


def test_the_command_records_digests_and_the_program_names_images_by_them(
    trusted: RegistryProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PACS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(region_module, "STACKS", _stacks(tmp_path, trusted.name))
    archives = {name: image(tmp_path, name, name.encode()) for name in ("services", "ceph")}
    monkeypatch.setattr(command, "_made", lambda _region, _progress: archives)
    assert main.main(["images", "push", "--stack", "site"]) == ExitCode.USAGE
    assert "registry.env does not exist" in "".join(capsys.readouterr().err.split("\n"))
    secrets = tmp_path / "state/site/secrets"
    secrets.mkdir(parents=True, mode=0o700)
    (secrets / "registry.env").touch(mode=0o600)
    (secrets / "registry.env").write_text(f"username={PUSHER.username}\npassword={PUSHER.password}\n")
    assert main.main(["images", "push", "--stack", "site", "--json"]) == ExitCode.DONE
    told = capsys.readouterr()
    assert PUSHER.password not in told.out + told.err
    digests = pushed_images.read(tmp_path / "state/site")
    assert digests == {
        f"{trusted.name}/{name}:0123456789ab": archive.digest for name, archive in archives.items()
    }
    region = region_module.load_region("site")
    references = image_references(region, {name: a.reference for name, a in archives.items()}, digests)
    expected = f"{trusted.name}/services:0123456789ab@{archives['services'].digest}"
    assert references["services"] == expected
    for log in (tmp_path / "state").rglob("*.log"):
        assert PUSHER.password not in log.read_text(encoding="utf-8")


def test_a_cut_connection_is_tried_again(trusted: RegistryProcess, tmp_path: Path) -> None:
    archive = image(tmp_path, "flaky", b"a" * 100_000)
    transport = _CutsFirstUpload(httpx.HTTPTransport(verify=ssl.create_default_context()))
    with Registry(trusted.name, PUSHER, transport=transport) as client:
        assert client.push(archive.path, "flaky:1", quiet).digest == archive.digest
    assert transport.cut


class _CutsFirstUpload(httpx.BaseTransport):
    """Loses the connection of the first upload, after it was begun."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self.inner, self.cut = inner, False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and "/blobs/uploads/" in request.url.path and not self.cut:
            self.cut = True
            raise httpx.WriteError("connection reset by peer")
        return self.inner.handle_request(request)


def _stacks(folder: Path, name: str) -> Path:
    """A folder with one stack file: the production example with this registry."""
    document = yaml.safe_load(region_module.stack_file("yanan").read_text(encoding="utf-8"))
    images = document["config"][region_module.CONFIG_KEY]["images"]
    images |= {"registry": name, "pinned": {}}
    (folder / "Pulumi.site.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return folder
