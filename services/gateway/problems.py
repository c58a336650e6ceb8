"""What the gateway itself answers when it refuses: RFC 9457 documents that say what to do."""

from __future__ import annotations

from services.common.problem import TYPE_PREFIX


def _problem(status: int, slug: str, title: str, detail: str, action: str) -> dict[str, object]:
    return {"type": TYPE_PREFIX + slug, "title": title, "status": status, "detail": detail, "action": action}


CLIENT_CERTIFICATE = "client-certificate"
"""Slug of every refusal that is about the caller's certificate; the forwarder keeps its packs and waits."""

PROBLEMS: dict[str, dict[str, object]] = {
    "400": _problem(
        400,
        "http-400",
        "Bad request",
        "The request line, a header or the path is malformed.",
        "Send a path without dot segments, empty segments or encoded slashes.",
    ),
    "certificate": _problem(
        403,
        CLIENT_CERTIFICATE,
        "Client certificate refused",
        "The certificate was not accepted ($ssl_client_verify).",
        "Renew it, or enrol the site again with a new one-time token.",
    ),
    "no_certificate": _problem(
        403,
        CLIENT_CERTIFICATE,
        "Client certificate needed",
        "Packs and figures are taken from enrolled sites only and no site certificate was presented.",
        "Enrol the site, then connect with its certificate.",
    ),
    "foreign_series": _problem(
        400,
        "foreign-series",
        "Series of another site, or of none",
        "The body is no remote-write request (1.0), or a series in it lacks the label site of the certificate.",
        "Set the label site of every series to the name of the site that the certificate names.",
    ),
    "404": _problem(
        404,
        "not-found",
        "Not found",
        "Nothing is served at this path.",
        "DICOMweb is at /dicom-web/, the worklist at /workflow/v1/, ingest at /ingest/v1/, "
        "remote write (POST) at /metrics/v1/write.",
    ),
    "401": _problem(
        401,
        "unauthenticated",
        "Not authenticated",
        "This needs a token and none was given, or it does not hold.",
        "Send Authorization: Bearer with a token of this region.",
    ),
    "403": _problem(
        403,
        "forbidden",
        "Forbidden",
        "The token does not allow this.",
        "Ask the region operator for the scope ops.",
    ),
    "413": _problem(
        413,
        "too-large",
        "Too large",
        "The body is larger than this region takes in one request.",
        "Send fewer instances in a request.",
    ),
    "421": _problem(
        421,
        "misdirected",
        "Misdirected request",
        "This connection was opened for another host name.",
        "Open a connection for the name that is asked for.",
    ),
    "429": _problem(
        429,
        "too-many",
        "Too many requests",
        "This site writes figures faster than the region takes them.",
        "Send the same request again in a few seconds.",
    ),
    "500": _problem(
        500,
        "internal",
        "Internal error",
        "The gateway could not decide about this request.",
        "Send it again; if it stays, give support the X-Request-Id.",
    ),
    "502": _problem(
        502,
        "bad-gateway",
        "The service does not answer",
        "The service behind the gateway is restarting or broke off.",
        "Nothing was acknowledged: send the same request again in a few seconds.",
    ),
    "503": _problem(
        503,
        "unavailable",
        "Unavailable",
        "The gateway is at its limit.",
        "Nothing was acknowledged: send the same request again in a few seconds.",
    ),
    "504": _problem(
        504,
        "upstream-timeout",
        "The service took too long",
        "The service behind the gateway did not answer in time.",
        "Ask for less at once, or send the same request again.",
    ),
}
