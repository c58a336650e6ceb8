"""Keeps the site's certificate alive while the service runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from services.common.clock import Clock
from services.common.errors import PacsError
from services.edge.metrics import EdgeMetrics
from services.enrolment.authority import CertificateAuthority
from services.enrolment.identity import IdentityFiles
from services.enrolment.renewal import renew_if_due

CHECK_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Renewer:
    """Checks each minute whether the certificate is due; a failure is counted and tried again."""

    def __init__(
        self,
        files: IdentityFiles,
        authority: CertificateAuthority,
        on_renewed: Callable[[], None],
        *,
        metrics: EdgeMetrics,
        clock: Clock,
    ) -> None:
        self._files = files
        self._authority = authority
        self._on_renewed = on_renewed
        self._metrics = metrics
        self._clock = clock

    def run(self, stop: threading.Event, check_seconds: float = CHECK_SECONDS) -> None:
        """Renew until `stop` is set."""
        while not stop.is_set():
            self.step()
            stop.wait(check_seconds)

    def step(self) -> bool:
        """Renew if due; whether a new certificate is in use now."""
        try:
            renewed = renew_if_due(self._files, self._authority, self._clock)
        except (PacsError, OSError) as error:
            reason = error.slug if isinstance(error, PacsError) else "files"
            self._metrics.renewals_failed.labels(reason).inc()
            _log.error("site certificate not renewed", extra={"reason": reason}, exc_info=error)
            return False
        if renewed is None:
            return False
        self._on_renewed()
        return True
