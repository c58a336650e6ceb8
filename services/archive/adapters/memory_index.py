"""The index in memory: for tests and for trying things out; it passes the same contract suite as PostgreSQL."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from services.archive.index.living import described_series, described_study, living_content
from services.archive.index.names import name_words
from services.archive.index.query import (
    Between,
    Condition,
    Kind,
    Level,
    NameLike,
    NameWords,
    OneOf,
    Query,
    Wildcard,
    name_fits,
    wildcard_fits,
)
from services.archive.index.records import (
    Conflict,
    InstanceRecord,
    Match,
    Outcome,
    PackContent,
    PackRecord,
    ReceiptRecord,
    SeriesRecord,
    StoredInstance,
    StudyRecord,
)
from services.archive.reading.metadata import SeriesMetadata, packed
from services.archive.tombstones.document import Grave, Target, Tombstone, graves_of


@dataclass(slots=True)
class _Row:
    pack: PackRecord
    instance: InstanceRecord


@dataclass(slots=True)
class _Study:
    institution: str
    record: StudyRecord
    series: dict[str, SeriesRecord] = field(default_factory=dict)


class MemoryIndex:
    """`services.archive.ports.Index` in dictionaries, guarded by one lock."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._packs: dict[str, PackRecord] = {}
        self._studies: dict[tuple[str, str], _Study] = {}
        self._rows: dict[tuple[str, str], _Row] = {}
        self._conflicts: dict[tuple[str, str, str], _Row] = {}
        self._receipts: dict[tuple[str, int], dict[tuple[str, str], str]] = {}
        self._graves: dict[str, tuple[str, list[Grave]]] = {}

    def commit(self, content: PackContent, receipts: Sequence[ReceiptRecord]) -> Outcome:
        pack = content.pack
        with self._lock:
            for receipt in receipts:
                kept = self._receipts.setdefault((pack.pack_id, receipt.epoch), {})
                kept.setdefault((receipt.sop_instance_uid, receipt.digest), receipt.jws)
            if pack.pack_id in self._packs:
                return Outcome(0, len(content.instances), 0, 0)
            self._packs[pack.pack_id] = pack
            whole = len(content.instances)
            content = living_content(content, self._graves_of(pack.institution))
            counts = {
                "added": 0,
                "duplicates": 0,
                "conflicts": 0,
                "tombstoned": whole - len(content.instances),
            }
            for instance in content.instances:
                counts[self._enter(content, instance)] += 1
            return Outcome(**counts)

    def _enter(self, content: PackContent, instance: InstanceRecord) -> str:
        institution = content.pack.institution
        identity = (institution, instance.sop_instance_uid)
        first = self._rows.get(identity)
        if first is not None:
            if first.instance.digest == instance.digest or (*identity, instance.digest) in self._conflicts:
                return "duplicates"
            self._conflicts[(*identity, instance.digest)] = _Row(content.pack, instance)
            return "conflicts"
        study = self._studies.setdefault(
            (institution, content.study.study_uid), _Study(institution, content.study)
        )
        series = next(one for one in content.series if one.series_uid == instance.series_uid)
        study.series.setdefault(series.series_uid, series)
        self._rows[identity] = _Row(content.pack, instance)
        return "added"

    def unknown_packs(self, pack_ids: Collection[str]) -> set[str]:
        return set(pack_ids) - self._packs.keys()

    def rekeyed(self, pack_id: str, key_id: str | None) -> None:
        with self._lock:
            if pack_id not in self._packs:
                return
            pack = self._packs[pack_id] = replace(self._packs[pack_id], key_id=key_id)
            for row in (*self._rows.values(), *self._conflicts.values()):
                if row.pack.pack_id == pack_id:
                    row.pack = pack

    def receipts(self, institution: str, pack_id: str, epoch: int) -> list[str]:
        pack = self._packs.get(pack_id)
        if pack is None or pack.institution != institution:
            return []
        return list(self._receipts.get((pack_id, epoch), {}).values())

    def find(self, query: Query) -> list[Match]:
        with self._lock:
            if query.level is Level.PATIENT:
                found = self._patients(query)
            else:
                found = [
                    match for match, levels in self._candidates(query) if _fits(query.conditions, levels)
                ]
        return found[query.offset : query.offset + query.limit]

    def each(self, query: Query) -> Iterator[Match]:
        yield from self.find(replace(query, limit=len(self._rows), offset=0))

    def _patients(self, query: Query) -> list[Match]:
        """The newest matching study of each patient, with the counts of all its studies."""
        everything = [m for m, _ in self._candidates(replace(query, level=Level.STUDY, conditions=()))]
        order = {key: place for place, key in enumerate(self._studies)}
        found: dict[tuple[str, str, str], Match] = {}
        for match, levels in self._candidates(replace(query, level=Level.STUDY)):
            patient = self._patient_of(match)
            if patient[2] and patient not in found and _fits(query.conditions, levels):
                whole = [one for one in everything if self._patient_of(one) == patient]
                found[patient] = replace(
                    match,
                    modalities=tuple(sorted({m for one in whole for m in one.modalities})),
                    study_series=sum(one.study_series for one in whole),
                    study_instances=sum(one.study_instances for one in whole),
                    patient_studies=len(whole),
                )
        first = {
            patient: min(place for key, place in order.items() if self._patient_of_key(key) == patient)
            for patient in found
        }
        return [found[patient] for patient in sorted(found, key=first.__getitem__)]

    def _patient_of(self, match: Match) -> tuple[str, str, str]:
        return self._patient_of_key((match.institution, match.study_uid))

    def _patient_of_key(self, key: tuple[str, str]) -> tuple[str, str, str]:
        record = self._studies[key].record
        return (key[0], record.issuer, record.patient_id)

    def _candidates(self, query: Query) -> Iterator[tuple[Match, dict[Level, Any]]]:
        studies = [s for s in self._studies.values() if _visible(query.institutions, s.institution)]
        studies.sort(key=lambda s: (s.record.study_uid, s.institution))
        studies.sort(key=lambda s: s.record.study_date, reverse=True)
        for study in studies:
            rows = self._of_study(study.institution, study.record.study_uid)
            modalities = tuple(sorted({s.modality for s in study.series.values() if s.modality}))
            study_match = Match(
                study.institution, study.record.study_uid, study.record.attributes, modalities,
                len(study.series), len(rows),
            )  # fmt: skip
            levels: dict[Level, Any] = dict.fromkeys((Level.PATIENT, Level.STUDY), (study.record, modalities))
            if query.level is Level.STUDY:
                yield study_match, levels
                continue
            for series in sorted(study.series.values(), key=lambda s: (_order(s.number), s.series_uid)):
                members = [row.instance for row in rows if row.instance.series_uid == series.series_uid]
                series_match = replace(
                    study_match,
                    series_uid=series.series_uid, series=series.attributes, series_instances=len(members),
                )  # fmt: skip
                levels[Level.SERIES] = series
                if query.level is Level.SERIES:
                    yield series_match, levels
                    continue
                for instance in sorted(members, key=lambda i: (_order(i.number), i.sop_instance_uid)):
                    match = replace(
                        series_match, sop_instance_uid=instance.sop_instance_uid, instance=instance.dicom_json
                    )
                    yield match, {**levels, Level.INSTANCE: instance}

    def _of_study(self, institution: str, study_uid: str) -> list[_Row]:
        return [
            row for (owner, _), row in self._rows.items()
            if owner == institution and row.pack.study_uid == study_uid
        ]  # fmt: skip

    def instances(
        self,
        institutions: frozenset[str] | None,
        study_uid: str,
        series_uid: str | None = None,
        sop_instance_uid: str | None = None,
    ) -> list[StoredInstance]:
        seen: dict[str, tuple[Any, StoredInstance]] = {}
        with self._lock:
            for (institution, uid), study in sorted(self._studies.items(), key=lambda item: item[0]):
                if uid != study_uid or not _visible(institutions, institution):
                    continue
                for row in self._of_study(institution, study_uid):
                    one = row.instance
                    if series_uid not in (None, one.series_uid) or sop_instance_uid not in (
                        None,
                        one.sop_instance_uid,
                    ):
                        continue
                    series = study.series[one.series_uid]
                    place = (
                        _order(series.number),
                        series.series_uid,
                        _order(one.number),
                        one.sop_instance_uid,
                    )
                    seen.setdefault(one.sop_instance_uid, (place, _stored(row)))
        return [stored for _, stored in sorted(seen.values(), key=lambda item: item[0])]

    def holders(self, institutions: frozenset[str] | None, study_uid: str) -> frozenset[str]:
        with self._lock:
            return frozenset(
                owner for owner, uid in self._studies if uid == study_uid and _visible(institutions, owner)
            )

    def holdings(self, institution: str, sop_instance_uids: Collection[str]) -> list[StoredInstance]:
        with self._lock:
            rows = [self._rows.get((institution, uid)) for uid in sop_instance_uids]
            return [_stored(row) for row in rows if row is not None]

    def headers(self, instances: Sequence[StoredInstance]) -> list[bytes]:
        with self._lock:
            return [
                self._rows[(one.institution, one.sop_instance_uid)].instance.dicom_json for one in instances
            ]

    def series_metadata(
        self, institutions: frozenset[str] | None, study_uid: str, series_uid: str
    ) -> SeriesMetadata | None:
        found = self.instances(institutions, study_uid, series_uid)
        one_holder = len({one.institution for one in found}) == 1
        return packed(self.headers(found)) if one_holder else None

    def series_without_metadata(self, quiet_seconds: float, limit: int) -> list[int]:
        return []  # it is always built when it is asked for

    def build_metadata(self, series: int) -> bool:
        return False

    def conflicts(self, institutions: frozenset[str] | None, study_uid: str) -> list[Conflict]:
        with self._lock:
            found = [
                Conflict(_stored(row), self._rows[(owner, uid)].instance.digest, row.instance.received_at)
                for (owner, uid, _), row in self._conflicts.items()
                if row.pack.study_uid == study_uid and _visible(institutions, owner)
            ]
        return sorted(found, key=lambda conflict: (conflict.received_at, conflict.instance.digest))

    def bury(self, tombstone: Tombstone) -> int:
        with self._lock:
            self._graves[tombstone.document_id] = (tombstone.institution, graves_of(tombstone))
            dead = self._graves_of(tombstone.institution)
            rows = {key for key, row in self._rows.items() if _is_hidden(key[0], row, tombstone, dead)}
            others = {key for key, row in self._conflicts.items() if _is_hidden(key[0], row, tombstone, dead)}
            for key in rows:
                del self._rows[key]
            for other in others:
                del self._conflicts[other]
            for owner, uid in list(self._studies):
                if owner == tombstone.institution and uid in tombstone.study_uids and (rows or others):
                    self._describe(owner, uid)
            return len(rows) + len(others)

    def _describe(self, institution: str, study_uid: str) -> None:
        """Bring a study and its series in line with the instances that are left."""
        left = [(key, row) for key, row in self._conflicts.items() if row.pack.study_uid == study_uid]
        for key, _ in sorted(left, key=lambda item: _age(item[1])):
            if key[0] == institution and key[:2] not in self._rows:
                self._rows[key[:2]] = self._conflicts.pop(key)
        rows = sorted(self._of_study(institution, study_uid), key=_age)
        if not rows:
            del self._studies[institution, study_uid]
            return
        study = _Study(institution, described_study(rows[0].instance.dicom_json, study_uid))
        for row in rows:
            uid = row.instance.series_uid
            if uid not in study.series:
                study.series[uid] = described_series(row.instance.dicom_json, uid)
        self._studies[institution, study_uid] = study

    def unknown_tombstones(self, document_ids: Collection[str]) -> set[str]:
        return set(document_ids) - self._graves.keys()

    def newest_received(self, institution: str, target: Target) -> datetime | None:
        grave = Grave(target, None)
        with self._lock:
            found = [*self._rows.items(), *self._conflicts.items()]
        return max(
            (row.instance.received_at for key, row in found if key[0] == institution and _covers(grave, row)),
            default=None,
        )

    def _graves_of(self, institution: str) -> list[Grave]:
        return [one for owner, graves in self._graves.values() if owner == institution for one in graves]

    def ping(self) -> None:
        return


def _covers(grave: Grave, row: _Row) -> bool:
    return grave.covers(row.pack.study_uid, row.instance)


def _is_hidden(owner: str, row: _Row, tombstone: Tombstone, graves: Collection[Grave]) -> bool:
    return owner == tombstone.institution and any(_covers(grave, row) for grave in graves)


def _age(row: _Row) -> tuple[datetime, str, int]:
    return (row.pack.sealed_at, row.pack.object_key, row.instance.offset)


def _visible(institutions: frozenset[str] | None, institution: str) -> bool:
    return institutions is None or institution in institutions


def _order(number: int | None) -> tuple[bool, int]:
    return (number is None, number or 0)


def _stored(row: _Row) -> StoredInstance:
    pack, one = row.pack, row.instance
    return StoredInstance(
        pack.institution, pack.site, pack.study_uid, one.series_uid, one.sop_instance_uid, one.sop_class_uid,
        one.transfer_syntax, pack.object_key, one.offset, one.length, one.data_offset, one.pixel_offset,
        one.pixel_length, one.frames, one.digest, pack.key_id,
    )  # fmt: skip


def _fits(conditions: Sequence[Condition], levels: dict[Level, Any]) -> bool:
    return all(_fits_one(condition, levels) for condition in conditions)


def _fits_one(condition: Condition, levels: dict[Level, Any]) -> bool:
    key, matcher = condition.key, condition.matcher
    record = levels[key.level]
    if key.level <= Level.STUDY:
        record, modalities = record
        value = modalities if key.column == "modalities" else getattr(record, key.column)
    else:
        value = getattr(record, key.column)
    values = value if key.kind is Kind.TEXTS else (value,)
    match matcher:
        case OneOf(wanted):
            return any(one in wanted for one in values)
        case Wildcard(patterns):
            return any(wildcard_fits(pattern, one) for one in values for pattern in patterns)
        case Between(low, high):
            return value != "" and (not low or low <= value) and (not high or value <= high)
        case NameLike():
            return name_fits(matcher, value)
        case NameWords(wanted_words):
            known = name_words(value)
            return all(any(word.startswith(begin) for word in known) for begin in wanted_words)
