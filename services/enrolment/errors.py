"""What can go wrong between a site and the region's certificate authority.

PacsError
├── IdentityError            500   files on this host do not fit together
├── CaRefused                 403   the CA answered no: token used, expired or foreign; certificate revoked
└── CaUnreachable             503   no answer; try again
"""

from services.common.errors import Forbidden, PacsError, Unavailable


class IdentityError(PacsError):
    """Key, certificate and pinned root of this host do not fit together or cannot be read."""

    title, slug = "Site identity broken", "identity-broken"


class CaRefused(Forbidden):
    """The certificate authority refused; asking the same again will not help."""

    title, slug = "Refused by the certificate authority", "ca-refused"


class CaUnreachable(Unavailable):
    """The certificate authority did not answer or could not decide; asking again may help."""

    title, slug = "Certificate authority unreachable", "ca-unreachable"
