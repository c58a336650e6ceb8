"""`python -m infra.pki.issue_enrolment`: print a one-time token for a site, for the play that enrols it.

Everything it needs lies in the stack's state directory; the token goes to standard output and nowhere else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.pki.enrolment import ensure_provisioner_key, issue_enrolment_token
from infra.pki.private_files import read_passphrase
from infra.pki.region_ca import RegionNames


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the token. Raises PkiError where the state directory has no key."""
    parser = argparse.ArgumentParser(prog="python -m infra.pki.issue_enrolment", description=__doc__)
    parser.add_argument("--secrets", type=Path, required=True, help="the stack's secrets directory")
    for name in ("region", "domain", "institution", "site"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--root-fingerprint", required=True, help="SHA-256 of the region's root certificate")
    given = parser.parse_args(arguments)
    key = ensure_provisioner_key(given.secrets / "pki", read_passphrase(given.secrets / "passphrase"))
    token = issue_enrolment_token(
        key,
        RegionNames(given.region, given.domain),
        given.root_fingerprint,
        institution=given.institution,
        site=given.site,
        now=datetime.now(UTC),
    )
    print(token)


if __name__ == "__main__":
    main()
