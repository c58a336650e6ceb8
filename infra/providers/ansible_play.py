"""AnsiblePlay: a playbook as a resource, so that `pulumi up` alone goes from bare hosts to a running region.

- create and update run the play; a play is written so that running it twice changes nothing;
- read (`refresh`) runs it in check mode and records as `drift` what would change, so that a preview shows a
  file that was altered by hand, and the next update repairs exactly that;
- a host that does not answer fails the run, unless the play is `optional` (a branch): then it is pending, as it is
  when the play hands back `{"pending": reason}`. Any other failure of an optional play is its own: `failed`, with the
  faults as drift, and nothing else waits for it. Both are tried again by the next run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from infra.providers.inputs import as_declared
from infra.providers.play_run import PROJECT, PlayReport, PlayRequest, run_play

INPUTS = (
    "name",
    "playbook",
    "hosts",
    "variables",
    "secret_variables",
    "role_digest",
    "optional",
    "state_dir",
)
APPLIED = "applied"
PENDING = "pending"
FAILED = "failed"


class PlayError(Exception):
    """A play failed; the text names host, task and message, and where the log lies."""


class AnsiblePlayProvider(ResourceProvider):
    """Runs plays. It holds nothing: everything is in the resource's properties."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["name"], _apply(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_apply(news))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = any(olds.get(key) != news.get(key) for key in INPUTS)
        return DiffResult(changed or bool(olds.get("drift")) or olds.get("status") != APPLIED)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        report = run_play(_request(props, check=True))
        if report.unreachable and props.get("optional"):
            return ReadResult(id_, _outputs(props, PENDING, []))
        drift = [*report.changed, *report.failed, *report.unreachable]
        return ReadResult(id_, _outputs(props, str(props.get("status", APPLIED)), drift))


class AnsiblePlay(Resource, module="pacs", name="AnsiblePlay"):
    """A playbook applied to hosts. `status` is applied, pending or failed; `drift` what is not as it should be."""

    status: pulumi.Output[str]
    drift: pulumi.Output[list[str]]

    def __init__(self, name: str, args: AnsiblePlayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        props: dict[str, Any] = {
            "name": name,
            "playbook": args.playbook,
            "hosts": list(args.hosts),
            "variables": {**args.variables, "pacs_results_file": str(results_file(args.state_dir, name))},
            "secret_variables": pulumi.Output.secret(args.secret_variables),
            "role_digest": args.role_digest,
            "optional": args.optional,
            "state_dir": str(args.state_dir),
            "status": None,
            "drift": None,
        }
        super().__init__(AnsiblePlayProvider(), name, props, opts)


@dataclass(frozen=True)
class AnsiblePlayArgs:
    """A playbook, its inventory (see `PlayRequest.hosts`) and its variables.

    `role_digest` covers the roles' content: a changed template runs the play again.
    """

    playbook: str
    hosts: Sequence[pulumi.Input[Mapping[str, Any]]]
    variables: Mapping[str, Any]
    role_digest: str
    state_dir: Path
    secret_variables: Mapping[str, Any] = field(default_factory=dict)
    optional: bool = False


def results_file(state_dir: Path, name: str) -> Path:
    """Where the play `name` writes what it hands back (extra variable `pacs_results_file`), mode 0600."""
    return state_dir / "results" / f"{name}.json"


def role_digest(playbook: str, project: Path = PROJECT) -> str:
    """SHA-256 over the playbook and every file of roles/ that can change what a play does."""
    digest = hashlib.sha256()
    for path in sorted({project / playbook, *_role_files(project / "roles")}):
        digest.update(str(path.relative_to(project)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _role_files(roles: Path) -> Iterable[Path]:
    for path in roles.rglob("*"):
        inside = path.relative_to(roles).parts
        if (
            path.is_file()
            and len(inside) > 1
            and "molecule" not in inside
            and "__pycache__" not in inside
            and path.suffix != ".md"
        ):
            yield path


def _request(props: Mapping[str, Any], *, check: bool) -> PlayRequest:
    state_dir = Path(props["state_dir"])
    results_file(state_dir, props["name"]).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return PlayRequest(
        name=props["name"],
        playbook=props["playbook"],
        hosts=as_declared(props["hosts"]),
        variables=as_declared({**props["variables"], **(props.get("secret_variables") or {})}),
        state_dir=state_dir,
        check=check,
    )


def _apply(props: Mapping[str, Any]) -> dict[str, Any]:
    optional = bool(props.get("optional"))
    handed_back = results_file(Path(props["state_dir"]), props["name"])
    if optional:
        handed_back.unlink(missing_ok=True)  # what an earlier run said is no news
    report = run_play(_request(props, check=False))
    if report.succeeded:
        reason = _pending_reason(handed_back) if optional else ""
        return _outputs(props, PENDING if reason else APPLIED, [reason] if reason else [])
    if not optional:
        raise PlayError(_explain(props, report))
    if report.failed or not report.unreachable:
        return _outputs(props, FAILED, report.failed or [f"the play ended with {report.return_code}"])
    return _outputs(props, PENDING, [])


def _pending_reason(handed_back: Path) -> str:
    """What an optional play waits for though every task went well; empty where it waits for nothing."""
    if not handed_back.is_file():
        return ""
    return str(json.loads(handed_back.read_text(encoding="utf-8")).get("pending", ""))


def _outputs(props: Mapping[str, Any], status: str, drift: list[str]) -> dict[str, Any]:
    kept = {key: props[key] for key in INPUTS if key in props}
    return {**kept, "status": status, "drift": drift}


def _explain(props: Mapping[str, Any], report: PlayReport) -> str:
    faults = (
        "\n".join(f"  {fault}" for fault in (*report.unreachable, *report.failed))
        or "  (no task reported why)"
    )
    log = Path(props["state_dir"]) / "logs" / f"{props['name']}.log"
    return (
        f"play {props['name']} ({props['playbook']}) ended with {report.return_code}:\n{faults}\n"
        f"The log is {log}. Mend the cause and run again: what was done stays, the rest follows."
    )
