"""`python -m bench.servers.stock_pynetdicom AE PORT DIRECTORY`: pynetdicom's Storage SCP as its guide shows it."""

from __future__ import annotations

import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event


def main(ae_title: str, port: int, directory: Path) -> None:
    """Receive until the process is ended."""

    def keep(event: Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE) and request.AffectedSOPInstanceUID  # noqa: S101 - the event's own
        with (directory / request.AffectedSOPInstanceUID).open("wb") as file:
            file.write(event.encoded_dataset())
        return 0x0000

    entity = AE(ae_title)
    entity.supported_contexts = AllStoragePresentationContexts
    entity.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, keep)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
