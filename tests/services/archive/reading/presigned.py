"""What botocore signs, for comparison with what we sign."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class _At(S3SigV4QueryAuth):
    """Signs for a moment that is given, not for now."""

    def sign(self, request: Any, moment: str) -> str:
        request.context["timestamp"] = moment
        self._modify_request_before_signing(request)
        return str(self.signature(self.string_to_sign(request, self.canonical_request(request)), request))


def botocore_signature(
    target: str, host: str, access_key: str, secret_key: str, headers: dict[str, str] | None = None
) -> str:
    """The signature that botocore gives a GET of this target, with its moment and life, and these headers."""
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    request: Any = AWSRequest("GET", f"https://{host}{parts.path}", headers=headers or {})
    signer = _At(
        Credentials(access_key, secret_key), "s3", "us-east-1", expires=int(query["X-Amz-Expires"][0])
    )
    return signer.sign(request, query["X-Amz-Date"][0])
