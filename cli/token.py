"""`./pacs token`: a short-lived right to read, store or look at figures, for whoever holds the region's keys."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import console
from cli.engine.workspace import Layout
from cli.errors import UsageError
from cli.options import Json, Stack
from infra.pki.private_files import PkiError, read_passphrase
from infra.pki.tokens import EVERY, MAX_LIFETIME, Scope, ensure_token_key, issue_token

if TYPE_CHECKING:
    from infra.config.region import RegionConfig

_MAX_HOURS = int(MAX_LIFETIME / timedelta(hours=1))
_MAY = {
    Scope.OPS: "see the status page and metrics",
    Scope.READ: "search and read studies",
    Scope.STORE: "store studies",
    Scope.DELETE: "delete studies",
    Scope.WORKFLOW_READ: "read worklist and performed steps",
    Scope.WORKFLOW_WRITE: "schedule on the worklist",
}

Scopes = Annotated[
    list[Scope] | None, typer.Option("--scope", help="What it may do; can be repeated. Without it: ops.")
]
Institutions = Annotated[
    list[str] | None,
    typer.Option(
        "--institution",
        metavar="NAME",
        help="Whose studies the dicomweb scopes are about; can be repeated; '*' is every one.",
    ),
]
Hours = Annotated[int, typer.Option("--hours", min=1, max=_MAX_HOURS, help="How long it holds.")]


def token(
    stack: Stack = "local",
    scope: Scopes = None,
    institution: Institutions = None,
    hours: Hours = 1,
    as_json: Json = False,
) -> None:
    """Print an access token on stdout, and on stderr what it may do and until when.

    Without options it opens the status page for an hour and no study at all. Whoever has it can use it:
    hand it on by a pipe, not on a command line.
    """
    from infra.config.region import load_region  # noqa: PLC0415  --help must not pay for it

    region = load_region(stack)
    scopes = sorted(set(scope or [Scope.OPS]))
    institutions = sorted(set(institution or []))
    _check(region, scopes, institutions)
    now = datetime.now(UTC)
    subject = f"operator:{os.environ.get('SUDO_USER') or getpass.getuser()}"
    signed = operator_token(
        region,
        Layout(stack).state,
        subject=subject,
        institutions=institutions,
        scopes=scopes,
        now=now,
        lifetime=timedelta(hours=hours),
    )
    expires = (now + timedelta(hours=hours)).isoformat(timespec="seconds")
    whose = "all institutions" if EVERY in institutions else ", ".join(institutions) or "no institution"
    console.say(f"{subject} may {'; '.join(_MAY[one] for one in scopes)} - of {whose}, until {expires}")
    document = {
        "token": signed,
        "subject": subject,
        "scopes": scopes,
        "institutions": institutions,
        "expires_at": expires,
    }
    if as_json:
        console.emit(document, "", as_json=True)
    else:
        sys.stdout.write(f"{signed}\n")


def operator_token(
    region: RegionConfig,
    state: Path,
    *,
    subject: str,
    institutions: Sequence[str],
    scopes: Sequence[Scope],
    now: datetime,
    lifetime: timedelta = timedelta(hours=1),
) -> str:
    """Sign a token for this region with the keys that `up` left in `state`.

    Raises PkiError where those keys are missing or cannot be opened; none are made here, because nobody
    would trust them.
    """
    keys = state / "secrets" / "pki"
    if not (keys / "tokens.key").is_file():
        raise PkiError(
            f"{keys / 'tokens.key'} is not there: this stack was never brought up here; run ./pacs up"
        )
    return issue_token(
        ensure_token_key(keys, read_passphrase(state / "secrets" / "passphrase")),
        issuer=f"https://{region.gateway_name}",
        audience=f"region:{region.region.name}",
        subject=subject,
        institutions=institutions,
        scopes=scopes,
        now=now,
        lifetime=lifetime,
    )


def _check(region: RegionConfig, scopes: Sequence[Scope], institutions: Sequence[str]) -> None:
    known = [institution.name for institution in region.region.institutions]
    if unknown := sorted(set(institutions) - {*known, EVERY}):
        raise UsageError(
            f"no institution {', '.join(unknown)} in the region {region.region.name}",
            f"there are: {', '.join(known)}",
            "Correct --institution, or name * for all of them.",
        )
    if set(scopes) - {Scope.OPS} and not institutions:
        raise UsageError(
            "nobody's studies are named",
            f"{' and '.join(scopes)} without an institution would allow nothing; there are: {', '.join(known)}",
            "Add --institution NAME.",
        )
    if institutions and set(scopes) == {Scope.OPS}:
        raise UsageError(
            "an institution is named, and nothing may be done with its studies",
            "the scope ops opens the status page and metrics, which belong to the region",
            "Add --scope dicomweb:read, or leave --institution away.",
        )
