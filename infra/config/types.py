"""Domain types of RegionConfig: each says what it accepts, and refuses the rest with a reason.

The values stay plain strings and integers, so that the model dumps to exactly what was written.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from infra.layout.sizing import SIZE_PATTERN, retention_days

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_AE_TITLE = re.compile(r"(?! )[\x20-\x5b\x5d-\x7e]{1,16}(?<! )")


def _ae_title(text: str) -> str:
    """PS3.5 6.2, VR AE: 1-16 characters of the default repertoire, no backslash, no control characters.

    Leading and trailing spaces are not significant there; a stack file must not contain them.
    """
    if not _AE_TITLE.fullmatch(text):
        raise ValueError(
            f"got {text!r}; allowed: 1-16 printable ASCII characters, no backslash, "
            "no space at either end (DICOM PS3.5 6.2, VR AE)"
        )
    return text


def _cidr(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text, strict=True)
    except ValueError as problem:
        raise ValueError(
            f"got {text!r} ({problem}); allowed: an IPv4 network such as 10.90.0.0/24, host bits zero"
        ) from None
    return str(network)


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"got {text!r}; allowed: an IPv4 address such as 10.90.0.11") from None


def _retention(text: str) -> str:
    retention_days(text)
    return text


AETitle = Annotated[
    str, Field(min_length=1, max_length=16, examples=["PACSCENTRE"]), AfterValidator(_ae_title)
]
"""An application entity title (DICOM PS3.5 6.2, VR AE)."""

Cidr = Annotated[str, Field(examples=["10.90.0.0/24"]), AfterValidator(_cidr)]
"""An IPv4 network, host bits zero."""

Address = Annotated[str, Field(examples=["10.90.0.11"]), AfterValidator(_address)]
"""An IPv4 address."""

Label = Annotated[str, Field(pattern=f"^{_LABEL}$", max_length=63)]
"""A lower-case DNS label (RFC 1123): it becomes part of host names, certificates and object keys."""

Fqdn = Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})+$", max_length=253)]
"""A fully qualified domain name in lower case, without the final dot."""

SiteName = Label
InstitutionName = Label

Size = Annotated[str, Field(pattern=SIZE_PATTERN, examples=["20Gi"])]
"""A number of bytes in Kubernetes' binary notation: 512Mi, 20Gi, 4Ti."""

Cpu = Annotated[str, Field(pattern=r"^([1-9][0-9]*m|[1-9][0-9]*(\.[0-9]+)?)$", examples=["500m", "2"])]
"""A share of processor cores in Kubernetes' notation."""

Retention = Annotated[str, Field(examples=["P3M", "P90D"]), AfterValidator(_retention)]
"""A retention as an ISO 8601 duration of whole days, months or years."""

Port = Annotated[int, Field(ge=1, le=65535)]

NodePort = Annotated[int, Field(ge=400, le=999)]
"""A port on every data-centre node; the cluster's range is 400-999, which contains 443."""

DevicePath = Annotated[
    str, Field(pattern=r"^/dev/[A-Za-z0-9._:/+-]+$", examples=["/dev/disk/by-id/wwn-0x5000c500a1b2c3d4"])
]
"""A block device by its path; prefer /dev/disk/by-id, which survives a change of order."""

HttpsUrl = Annotated[str, Field(pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[^\s?#]*)?$")]
"""An https address without credentials, query or fragment."""

ImageReference = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:v?[0-9][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$",
        examples=["quay.io/ceph/ceph:v20.2.4"],
    ),
]
"""A container image by version tag or, better, by digest; never by a tag that moves, such as latest."""

Reason = Annotated[str, Field(min_length=20)]
"""Why an exception is granted: a sentence that an auditor can read."""
