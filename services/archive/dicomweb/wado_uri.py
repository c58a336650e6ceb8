"""WADO-URI (PS3.18 chapter 9): one object named by query parameters, for clients that know no other way."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.archive.dicomweb.accept import DICOM, EXPLICIT_LE, MediaRange, parse
from services.archive.dicomweb.qido import checked_uid
from services.archive.dicomweb.rendered import MAX_SIDE, MEDIA_TYPES, picture_of
from services.archive.index.records import StoredInstance
from services.archive.rendering.service import Picture
from services.common.errors import BadRequest, NotAcceptable

# Named in the standard, and refused by name: what they ask for is not done here, and must not seem to be.
_NOT_DONE = {"anonymize": "no", "presentationUID": "", "presentationSeriesUID": ""}


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """A WADO-URI request as read: which object, and as what."""

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    content_types: tuple[MediaRange, ...]
    transfer_syntax: str
    frame: int | None

    def dicom_range(self) -> MediaRange:
        """The same wish as an accepted type of WADO-RS."""
        return MediaRange(DICOM, {"transfer-syntax": self.transfer_syntax})

    def kind(self, stored: StoredInstance) -> str:
        """The media type to answer with: a picture of a single frame unless DICOM is asked for (PS3.18 9.4.1).

        Raises `NotAcceptable`.
        """
        shown = bool(stored.pixel_length) and len(stored.frames) <= 1
        asked = self.content_types or (MediaRange("image/jpeg" if shown or self.frame else DICOM),)
        for one in asked:
            for kind in (DICOM, *MEDIA_TYPES) if one.kind == DICOM else (*MEDIA_TYPES, DICOM):
                if one.takes(kind):
                    return kind
        raise NotAcceptable(
            "The object cannot be given in any of these content types.",
            action=f"Ask for {DICOM} or one of {', '.join(MEDIA_TYPES)}.",
        )


def read_request(parameters: Mapping[str, str]) -> ObjectRequest:
    """The parameters of a request. Raises `BadRequest`: none that changes the picture is ignored."""
    if parameters.get("requestType") != "WADO":
        raise BadRequest("requestType is not WADO.", action="Add requestType=WADO (PS3.18 9.1.2).")
    for name, harmless in _NOT_DONE.items():
        if parameters.get(name, harmless) != harmless:
            raise BadRequest(f"{name} is not done by this server.", action=f"Leave {name} out.")
    study, series, instance = (
        checked_uid(parameters.get(name, ""), name) for name in ("studyUID", "seriesUID", "objectUID")
    )
    syntax = parameters.get("transferSyntax", EXPLICIT_LE)
    return ObjectRequest(
        study_uid=study,
        series_uid=series,
        sop_instance_uid=instance,
        content_types=tuple(parse(parameters.get("contentType", ""))),
        transfer_syntax="*" if syntax == "*" else checked_uid(syntax, "transferSyntax"),
        frame=_whole("frameNumber", parameters["frameNumber"]) if "frameNumber" in parameters else None,
    )


def picture_asked(parameters: Mapping[str, str], kind: str) -> Picture:
    """The picture's parameters (PS3.18 9.1.2.3 and 9.5), told in those of WADO-RS. Raises `BadRequest`."""
    told: dict[str, str] = {}
    if "imageQuality" in parameters:
        told["quality"] = parameters["imageQuality"]
    if ("windowCenter" in parameters) != ("windowWidth" in parameters):
        raise BadRequest("windowCenter and windowWidth go together.", action="Give both, or none.")
    if "windowCenter" in parameters:
        told["window"] = f"{parameters['windowCenter']},{parameters['windowWidth']}"
    rows, columns = (
        str(_whole(name, parameters[name])) if name in parameters else str(MAX_SIDE)
        for name in ("rows", "columns")
    )
    if "rows" in parameters or "columns" in parameters:
        told["viewport"] = f"{columns},{rows}"
    if "region" in parameters:
        raise BadRequest(
            "region is not done by this server.", action="Use the viewport parameter of WADO-RS /rendered."
        )
    return picture_of(told, kind)


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and 1 <= int(text) <= MAX_SIDE * 64):
        raise BadRequest(f"{name} cannot be read.", action=f"Give {name} as a whole number from 1.")
    return int(text)
