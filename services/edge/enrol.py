"""`python -m services.edge.enrol`: make this host a site of the region, once.

The role that installs a branch runs it inside the services image. The one-time token comes in a file; nothing
secret is an argument. Run again it changes nothing: 0 enrolled (now or before), 2 wrong use, 4 try again.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import PacsError, Unavailable
from services.common.settings import read_secret
from services.enrolment.authority import CertificateAuthority
from services.enrolment.errors import CaRefused, IdentityError
from services.enrolment.identity import IdentityFiles, SiteIdentity, SiteName, signing_request


@dataclass(frozen=True)
class Token:
    """A one-time token and what it says in clear; step-ca verifies it, this host only reads it."""

    text: str
    subject: str
    names: tuple[str, ...]
    root_fingerprint: str

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read the payload of a compact JWS. Raises CaRefused for anything else."""
        try:
            payload = text.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return cls(text, str(claims["sub"]), tuple(map(str, claims["sans"])), str(claims["sha"]))
        except (IndexError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise CaRefused(
                "the token file does not hold an enrolment token",
                action="Issue one with ./pacs and try again.",
            ) from error


def enrol(
    files: IdentityFiles, name: SiteName, root_pem: bytes, token: Token, authority_url: str
) -> SiteIdentity:
    """Pin the root, make the key, and have it certified as `name`.

    Raises IdentityError, CaRefused or CaUnreachable; what was made until then is used by the next try.
    """
    if token.names != (name.uri,):
        raise CaRefused(
            f"the token is for {', '.join(token.names) or 'no one'}, this host is {name.uri}",
            action="Issue a token for this site.",
        )
    files.pin(root_pem, token.root_fingerprint)
    request = signing_request(files.ensure_key(), name)
    authority = CertificateAuthority(authority_url, files.tls_context(client=False))
    try:
        return files.store(authority.sign(request, token.text), name)
    finally:
        authority.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module's docstring for the exit codes."""
    parser = argparse.ArgumentParser(prog="python -m services.edge.enrol", description=__doc__)
    parser.add_argument("--ca-url", required=True, help="https://ca.<domain>")
    parser.add_argument("--domain", required=True, help="the region's domain")
    parser.add_argument("--institution", required=True)
    parser.add_argument("--site", required=True)
    parser.add_argument(
        "--identity", type=Path, default=Path("/var/lib/pacs/identity"), help="directory of the keys"
    )
    parser.add_argument("--root", type=Path, required=True, help="the region's root certificate, PEM")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the one-time token")
    given = parser.parse_args(arguments)
    name = SiteName(given.domain, given.institution, given.site)
    files = IdentityFiles(given.identity)
    try:
        present = files.load()
        if present is not None and present.name == name:
            print(f"already enrolled as {name.uri}, valid until {present.not_after:%Y-%m-%d %H:%M} UTC")
            return 0
        if present is not None:
            raise IdentityError(
                f"this host is {present.name.uri} and was asked to become {name.uri}",
                action=f"Move {given.identity} away first, if that is meant.",
            )
        token = Token.parse(read_secret(given.token_file))
        identity = enrol(files, name, given.root.read_bytes(), token, given.ca_url)
    except PacsError as error:
        print(f"{error.detail}. {error.action}", file=sys.stderr)
        return 4 if isinstance(error, Unavailable) else 2
    except (OSError, ValueError) as error:
        print(f"cannot read what was named: {error}", file=sys.stderr)
        return 2
    print(f"enrolled as {name.uri}, valid until {identity.not_after:%Y-%m-%d %H:%M} UTC")
    return 0


if __name__ == "__main__":
    sys.exit(main())
