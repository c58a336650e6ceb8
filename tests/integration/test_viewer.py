"""OHIF, which none of us wrote, opens a study of the running archive, scrolls it and shows its metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.integration.archive_process import ArchiveProcess
from tests.integration.browser import browser
from tests.integration.ohif import door
from tests.integration.postgres import database, postgres
from tests.integration.test_archive_end_to_end import eventually, send, stored
from tests.services.archive.samples import synthetic
from tests.services.archive.tokens import Issuer

__all__ = ["database", "postgres"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(540)]

SLICES, SIDE = 12, 128


@pytest.fixture
def archive(tmp_path: Path, database: str) -> Iterator[ArchiveProcess]:
    process = ArchiveProcess(tmp_path, database, Issuer())
    yield process
    process.close()


def a_ball(number: int) -> bytes:
    """Slice `number` of a bright ball in dark surroundings, whole as a CT series needs it."""
    height = number - (SLICES + 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    inside = x**2 + y**2 + (height * 8) ** 2 < 50**2
    pixels = np.where(inside, 1100 + number * 10, 24).astype("<u2").tobytes()
    return synthetic(
        f"1.2.3.1.{number}", PixelData=pixels, Rows=SIDE, Columns=SIDE, InstanceNumber=number,
        RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400, PixelSpacing=[1, 1],
        ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, -number * 8], SliceThickness=8,
        FrameOfReferenceUID="1.2.3.9", StudyDescription="BALL", SeriesDescription="THIN SLICES", PatientSex="M",
    )  # fmt: skip


def test_ohif_opens_a_study_scrolls_it_and_shows_its_metadata(
    archive: ArchiveProcess, tmp_path: Path
) -> None:
    archive.start()
    send(archive, *(a_ball(number) for number in range(1, SLICES + 1)))
    eventually(lambda: stored(archive, "1.2.3") == SLICES, archive, "every slice")
    pictures = Path(os.environ.get("PACS_SCREENSHOTS", tmp_path))
    with door(archive) as (url, asked), browser() as page:
        page.open(f"{url}/")
        page.eventually(lambda: "Wang" in page.text() and "BALL" in page.text(), "the study in the list")
        page.screenshot(pictures / "ohif-list.png")

        page.open(f"{url}/viewer?StudyInstanceUIDs=1.2.3")
        page.eventually(lambda: f"1/{SLICES}" in page.text().replace(" ", ""), "the first slice")
        for button in ("Skip all", "Confirm and hide"):  # what OHIF tells a newcomer lies over the image
            page.eventually(lambda named=button: page.press(named), f"the button {button}")
        page.screenshot(pictures / "ohif-first.png")
        box = page.evaluate(
            "(() => { const b = document.querySelector('.cornerstone-canvas').getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for number in range(2, SLICES // 2 + 1):
            page.wheel(*box, 120)
            page.eventually(
                lambda at=number: f"{at}/{SLICES}" in page.text().replace(" ", ""), f"slice {number}"
            )
        shown = page.evaluate(
            "(() => { const c = document.querySelector('.cornerstone-canvas');"
            " const p = c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data; return p[0] })()"
        )
        # Slice 6 of 136 HU, in a window of 400 around 40 (PS3.3 C.11.2.1.2.1).
        assert abs(shown - ((136 - 39.5) / 399 + 0.5) * 255) <= 2
        page.screenshot(pictures / "ohif-scrolled.png")

        page.evaluate("window.commandsManager.runCommand('openDICOMTagViewer')")
        page.eventually(
            lambda: "SOPInstanceUID\n1.2.3.1.1\n" in page.text() and "Wang^XiaoDong" in page.text(),
            "the tags of the first slice",
        )
        page.screenshot(pictures / "ohif-tags.png")
        complaints = page.complaints()
    paths = [path for path, _ in asked]
    assert all(status in (200, 204) for _, status in asked), asked
    assert any("/metadata" in path for path in paths)
    frames = {path.split("/instances/")[1].split("/")[0] for path in paths if "/frames/" in path}
    assert frames == {f"1.2.3.1.{number}" for number in range(1, SLICES + 1)}
    assert not [one for one in complaints if "dicom-web" in one], complaints
