"""Rules of `services.archive.workflow.performed_step`: what may happen to an MPPS, and the status of what may not."""

from datetime import timedelta
from typing import Any

import pytest

from services.archive.workflow.performed_step import StepRefused, StepStatus, changed, created
from tests.services.archive.workflow.orders import NOON, STEP, a_step, attributes, final

LATER = NOON + timedelta(minutes=9)


def refusal_of_create(uid: str = STEP, **changes: Any) -> StepRefused:
    with pytest.raises(StepRefused) as refused:
        created(uid, attributes(**changes), NOON, institution="yanan", site="yanchang", calling_ae="CT1")
    return refused.value


def test_a_step_begins_in_progress_with_its_studies() -> None:
    step = a_step()
    assert (step.status, step.study_uids, step.calling_ae) == (StepStatus.IN_PROGRESS, ("1.2.3",), "CT1")
    assert [(link.step_id, link.accession_number) for link in step.links] == [("SPS1", "A1")]


@pytest.mark.parametrize(
    "tag", ["00400270", "00400253", "00400241", "00400244", "00400245", "00400252", "00080060"]
)
def test_what_n_create_needs_is_named_when_it_is_absent_or_empty(tag: str) -> None:
    absent = refusal_of_create(**{f"t{tag}": None})
    assert (absent.status, absent.tags) == (0x0120, (tag,))
    empty = refusal_of_create(**{f"t{tag}": {"vr": "SH"}})
    assert (empty.status, empty.tags) == (0x0121, (tag,))
    assert len(empty.comment) <= 64


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED", "in progress", "SCHEDULED", "X" * 99])
def test_no_step_begins_otherwise(status: str) -> None:
    refused = refusal_of_create(t00400252={"vr": "CS", "Value": [status]})
    assert (refused.status, refused.tags) == (0x0106, ("00400252",))


@pytest.mark.parametrize("uid", ["", "../../etc", "1.2." + "3" * 64, "1.2.a"])
def test_a_uid_that_is_none_is_refused(uid: str) -> None:
    assert refusal_of_create(uid).status == 0x0117
    item = {"0020000D": {"vr": "UI", "Value": [uid]}}
    assert refusal_of_create(t00400270={"vr": "SQ", "Value": [item]}).status in (0x0106, 0x0121)


@pytest.mark.parametrize("value", [[1], [None], [[]], [{"0020000D": {"vr": "UI", "Value": [7]}}]])
def test_a_sequence_of_something_else_makes_no_step_of_a_study(value: list[Any]) -> None:
    try:
        step = created(
            STEP, attributes(t00400270={"vr": "SQ", "Value": value}), NOON,
            institution="yanan", site="yanchang", calling_ae="CT1",
        )  # fmt: skip
    except StepRefused as refused:
        assert refused.status == 0x0121
    else:
        assert step.study_uids == ()


def test_attributes_are_set_while_it_is_in_progress() -> None:
    step, left = changed(a_step(), {"00400254": {"vr": "LO", "Value": ["THORAX"]}}, LATER)
    assert (step.status, left, step.changed_at) == (StepStatus.IN_PROGRESS, (), LATER)
    assert step.attributes["00400254"] == {"vr": "LO", "Value": ["THORAX"]}
    assert step.attributes["00400253"] == {"vr": "SH", "Value": ["PPS1"]}


@pytest.mark.parametrize("status", ["COMPLETED", "DISCONTINUED"])
def test_nothing_changes_after_a_final_state(status: str) -> None:
    step, _ = changed(a_step(), final(status), LATER)
    assert step.status == status
    for modification in (final("COMPLETED"), final("DISCONTINUED"), final("IN PROGRESS"), {}):
        with pytest.raises(StepRefused) as refused:
            changed(step, modification, LATER)
        assert (refused.value.status, refused.value.error_id) == (0x0110, 0xA710)
        assert refused.value.comment == "Performed Procedure Step Object may no longer be updated"


@pytest.mark.parametrize("tag", ["00400250", "00400251", "00400340"])
def test_a_completed_step_has_an_end_and_a_series(tag: str) -> None:
    with pytest.raises(StepRefused) as refused:
        changed(a_step(), final("COMPLETED", **{f"t{tag}": {"vr": "SH"}}), LATER)
    assert (refused.value.status, refused.value.tags) == (0x0121, (tag,))


def test_a_step_that_was_broken_off_before_its_first_image_may_say_so() -> None:
    step, _ = changed(a_step(), final("DISCONTINUED", t00400340={"vr": "SQ"}), LATER)
    assert step.status is StepStatus.DISCONTINUED


@pytest.mark.parametrize("value", [["GONE"], [""], [], [3]])
def test_a_status_that_is_none_is_refused(value: list[Any]) -> None:
    with pytest.raises(StepRefused) as refused:
        changed(a_step(), {"00400252": {"vr": "CS", "Value": value}}, LATER)
    assert refused.value.status in (0x0106, 0x0121)


def test_what_n_create_settled_is_left_and_told() -> None:
    other = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Somebody^Else"}]}}
    same = {"00400253": {"vr": "SH", "Value": ["PPS1"]}}
    step, left = changed(a_step(), {**final("COMPLETED"), **other, **same}, LATER)
    assert left == ("00100010",)
    assert step.attributes["00100010"] == attributes()["00100010"]
    assert step.status is StepStatus.COMPLETED
