"""Why instances are rejected (IHE RAD-66, codes of DICOM CID 7011) and what a later resend means for each.

| code | meaning | the same instance sent again later |
|---|---|---|
| 113001 | Rejected for Quality Reasons | stays hidden |
| 113037 | Rejected for Patient Safety Reasons | stays hidden |
| 113038 | Incorrect Modality Worklist Entry | stays hidden: the corrected ones come with new UIDs |
| 113039 | Data Retention Policy Expired | is shown: it was deleted for its age, and nothing is wrong with it |
| none | a deletion | is shown: who sends it again after the deletion wants it back |
"""

QUALITY, PATIENT_SAFETY, WRONG_WORKLIST, RETENTION = "113001", "113037", "113038", "113039"
REASONS = {
    QUALITY: "Rejected for Quality Reasons",
    PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
    WRONG_WORKLIST: "Incorrect Modality Worklist Entry",
    RETENTION: "Data Retention Policy Expired",
}


def outlasts_resend(code: str) -> bool:
    """Whether an instance that is sent again after this rejection stays hidden."""
    return code in (QUALITY, PATIENT_SAFETY, WRONG_WORKLIST)
