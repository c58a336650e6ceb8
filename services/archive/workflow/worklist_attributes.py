"""A worklist entry as the attributes of PS3.4 table K.6-1. What an order does not say is there without a value."""

from __future__ import annotations

from pydicom.dataset import Dataset

from services.archive.workflow.order import Code, Order, Patient, Person, Step
from services.archive.workflow.worklist import Entry, EntryState

# Scheduled Procedure Step Status (0040,0020), defined terms of PS3.3 C.4.10.
_STATUS = {EntryState.SCHEDULED: "SCHEDULED", EntryState.STARTED: "STARTED"}


def attributes_of(entry: Entry) -> Dataset:
    """All that a modality can be told of an entry."""
    order, answer = entry.order, Dataset()
    answer.ScheduledProcedureStepSequence = [_step(entry)]
    answer.AccessionNumber = order.accession_number
    answer.RequestingPhysician = _name(order.requesting_physician)
    answer.ReferringPhysicianName = _name(order.referring_physician)
    answer.AdmissionID = order.visit.admission_id
    answer.CurrentPatientLocation = order.visit.current_location
    answer.ReferencedStudySequence = []
    answer.ReferencedPatientSequence = []
    _procedure(answer, entry.study_uid, order)
    _patient(answer, order.patient)
    return answer


def _step(entry: Entry) -> Dataset:
    step: Step = entry.order.step
    item = Dataset()
    item.ScheduledStationAETitle = list(step.station_ae_titles)
    item.ScheduledProcedureStepStartDate = step.start.strftime("%Y%m%d")
    item.ScheduledProcedureStepStartTime = step.start.strftime("%H%M%S")
    item.Modality = step.modality
    item.ScheduledPerformingPhysicianName = _name(step.performing_physician)
    item.ScheduledProcedureStepDescription = step.description
    item.ScheduledStationName = step.station_name
    item.ScheduledProcedureStepLocation = step.location
    item.ScheduledProtocolCodeSequence = [_code(code) for code in step.protocol]
    item.PreMedication = step.pre_medication
    item.ScheduledProcedureStepID = step.id
    item.RequestedContrastAgent = step.contrast_agent
    item.ScheduledProcedureStepStatus = _STATUS.get(entry.state, "")
    return item


def _procedure(answer: Dataset, study_uid: str, order: Order) -> None:
    procedure = order.procedure
    answer.RequestedProcedureID = procedure.id
    answer.RequestedProcedureDescription = procedure.description
    answer.RequestedProcedureCodeSequence = [_code(procedure.code)] if procedure.code is not None else []
    answer.StudyInstanceUID = study_uid
    answer.RequestedProcedurePriority = procedure.priority or ""
    answer.PatientTransportArrangements = procedure.transport


def _patient(answer: Dataset, patient: Patient) -> None:
    answer.PatientName = patient.name.text
    answer.PatientID = patient.id
    answer.IssuerOfPatientID = patient.issuer
    answer.PatientBirthDate = patient.birth_date.strftime("%Y%m%d") if patient.birth_date is not None else ""
    answer.PatientSex = patient.sex or ""
    answer.PatientWeight = f"{patient.weight_kg:.6g}" if patient.weight_kg is not None else None
    answer.ConfidentialityConstraintOnPatientDataDescription = patient.confidentiality
    answer.PatientState = patient.state
    answer.PregnancyStatus = None
    answer.MedicalAlerts = list(patient.medical_alerts)
    answer.Allergies = list(patient.allergies)
    answer.SpecialNeeds = patient.special_needs


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _name(person: Person | None) -> str:
    return person.text if person is not None else ""
