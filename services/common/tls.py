"""TLS of our own listeners, by the same rules as the gateway's (BCP 195: RFC 9325, RFC 8996)."""

import ssl
from pathlib import Path


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a listener shows and accepts: TLS 1.2 and 1.3, forward secrecy and AEAD, no client certificates.

    Raises OSError naming both files when one is missing or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one too; neither says which file it was
        raise OSError(
            f"{certificate} and {key} are not a certificate and its key: {error}. "
            "Restore both from the same backup, or empty both settings where TLS is not wanted"
        ) from error
    return context
