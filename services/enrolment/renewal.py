"""When a certificate is renewed, and that it is: a decision on ages, so it takes its time from the clock."""

from __future__ import annotations

import logging
from datetime import timedelta

from services.common.clock import Clock
from services.enrolment.authority import CertificateAuthority
from services.enrolment.identity import IdentityFiles, SiteIdentity

RETRY = timedelta(minutes=5)
_log = logging.getLogger(__name__)


def is_due(identity: SiteIdentity, clock: Clock) -> bool:
    """True once two thirds of the certificate's life are over, and ever after: an expired one is due too."""
    life = identity.not_after - identity.not_before
    return clock.now() >= identity.not_before + life * 2 / 3


def renew_if_due(files: IdentityFiles, authority: CertificateAuthority, clock: Clock) -> SiteIdentity | None:
    """Renew the site's certificate where it is due; the new identity, or None where nothing was to do.

    Raises the errors of `CertificateAuthority.renew` and IdentityError; the files stay as they were.
    """
    identity = files.load()
    if identity is None or not is_due(identity, clock):
        return None
    renewed = files.store(authority.renew(identity, clock), identity.name)
    _log.info(
        "site certificate renewed",
        extra={"site": identity.name.site, "institution": identity.name.institution},
    )
    return renewed
