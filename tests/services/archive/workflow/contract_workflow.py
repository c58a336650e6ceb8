"""What every worklist and every store of performed steps must do; run on memory here and on PostgreSQL by integration
tests. A subclass gives the fixture `workflow`."""

from dataclasses import replace
from datetime import timedelta
from threading import Thread

import pytest

from services.archive.errors import EntryBegun
from services.archive.index.query import Between, OneOf, Wildcard, name_like
from services.archive.workflow.performed_step import PerformedStep, StepRefused, StepStatus, changed
from services.archive.workflow.ports import StepQuery, Workflow
from services.archive.workflow.worklist import EntryState, Placed, WorklistQuery
from tests.services.archive.workflow.orders import NOON, STEP, a_step, an_entry, final

YANAN = frozenset({"yanan"})
LATER = NOON + timedelta(minutes=9)


def found(workflow: Workflow, query: WorklistQuery) -> list[str]:
    return [entry.entry_id for entry in workflow.worklist.find(query)]


def ended(step: PerformedStep, status: str) -> PerformedStep:
    return changed(step, final(status), LATER)[0]


class WorkflowContract:
    """Rules of `services.archive.workflow.ports`."""

    def test_an_entry_comes_back_as_it_was_put(self, workflow: Workflow) -> None:
        entry = an_entry()
        assert workflow.worklist.put(entry) is Placed.ADDED
        assert workflow.worklist.get("yanan", "E1") == entry
        assert list(workflow.worklist.find(WorklistQuery(YANAN))) == [entry]

    def test_the_same_order_again_changes_nothing_and_another_one_replaces_it(
        self, workflow: Workflow
    ) -> None:
        workflow.worklist.put(an_entry())
        again = replace(an_entry(), changed_at=LATER)
        assert workflow.worklist.put(again) is Placed.UNCHANGED
        assert workflow.worklist.get("yanan", "E1") == an_entry()
        moved = replace(an_entry(step__modality="MR"), changed_at=LATER)
        assert workflow.worklist.put(moved) is Placed.CHANGED
        assert workflow.worklist.get("yanan", "E1") == moved

    def test_a_cancelled_entry_is_shown_no_more_and_can_be_ordered_again(self, workflow: Workflow) -> None:
        workflow.worklist.put(an_entry())
        for _ in range(2):
            gone = workflow.worklist.cancel("yanan", "E1", LATER)
            assert gone is not None
            assert (gone.state, gone.changed_at) == (EntryState.CANCELLED, LATER)
        assert found(workflow, WorklistQuery(YANAN)) == []
        assert workflow.worklist.put(an_entry()) is Placed.CHANGED
        assert found(workflow, WorklistQuery(YANAN)) == ["E1"]
        assert workflow.worklist.cancel("yanan", "E2", LATER) is None

    def test_nothing_of_another_institution_is_seen_or_moved(self, workflow: Workflow) -> None:
        workflow.worklist.put(an_entry(institution="zhidan"))
        workflow.steps.create(a_step())
        assert found(workflow, WorklistQuery(YANAN)) == []
        assert found(workflow, WorklistQuery(frozenset())) == []
        assert workflow.worklist.get("yanan", "E1") is None
        assert workflow.worklist.cancel("yanan", "E1", LATER) is None
        other = workflow.worklist.get("zhidan", "E1")
        assert other is not None
        assert other.state is EntryState.SCHEDULED
        assert workflow.steps.get("zhidan", STEP) is None
        assert workflow.steps.find(StepQuery(frozenset({"zhidan"}))) == []
        assert workflow.steps.find(StepQuery(frozenset())) == []
        with pytest.raises(StepRefused):
            workflow.steps.change("zhidan", STEP, lambda step: step)

    @pytest.mark.parametrize(
        ("query", "fits"),
        [
            ({"texts": {"station_ae_title": OneOf(("CT2",))}}, True),
            ({"texts": {"station_ae_title": OneOf(("CT3",))}}, False),
            ({"texts": {"modality": OneOf(("CT", "MR"))}}, True),
            ({"texts": {"modality": OneOf(("MR",))}}, False),
            ({"texts": {"patient_id": OneOf(("P1",))}}, True),
            ({"texts": {"patient_id": OneOf(("p1",))}}, False),
            ({"texts": {"patient_id": Wildcard(("P?",))}}, True),
            ({"texts": {"accession_number": OneOf(("A1",))}}, True),
            ({"texts": {"accession_number": OneOf(("A2",))}}, False),
            ({"texts": {"accession_number": Wildcard(("*1",))}}, True),
            ({"texts": {"study_uid": OneOf(("9.9", "1.2.3"))}}, True),
            ({"texts": {"procedure_id": OneOf(("RP2",))}}, False),
            ({"names": {"patient_name": name_like("王*")}}, True),
            ({"names": {"patient_name": name_like("wang^x*")}}, True),
            ({"names": {"patient_name": name_like("wang*=李*")}}, False),
            ({"names": {"performing_physician": name_like("李^娜")}}, True),
            ({"names": {"referring_physician": name_like("李^娜")}}, False),
            ({"dates": Between("20250301", "20250301")}, True),
            ({"dates": Between("20250302", "")}, False),
            ({"dates": Between("", "20250228")}, False),
            ({"dates": Between("20250201", "20250331")}, True),
            ({"dates": Between("20250299", "20250301")}, True),
            ({"times": Between("101500.000000", "101500.000000")}, True),
            ({"times": Between("110000.000000", "")}, False),
            ({"states": frozenset({EntryState.STARTED})}, False),
        ],
    )  # fmt: skip
    def test_an_entry_fits_what_the_standard_says_it_does(
        self, workflow: Workflow, query: dict[str, object], fits: bool
    ) -> None:
        workflow.worklist.put(an_entry())
        assert (found(workflow, WorklistQuery(YANAN, **query)) == ["E1"]) is fits  # type: ignore[arg-type]

    def test_answers_come_by_start_and_all_of_them(self, workflow: Workflow) -> None:
        for number in range(410):
            start = f"2025-03-01T{8 + number // 60:02}:{number % 60:02}:00"
            workflow.worklist.put(an_entry(f"E{409 - number:03}", step__start=start, step__id=f"S{number}"))
        workflow.worklist.put(an_entry("E000x", step__start="2025-03-01T08:00:00"))
        expected = ["E000x" if n == 410 else f"E{n:03}" for n in (410, *range(409, -1, -1))]
        assert found(workflow, WorklistQuery(YANAN)) == expected

    def test_a_performed_step_takes_its_entry_from_scheduled_to_its_end(self, workflow: Workflow) -> None:
        workflow.worklist.put(an_entry())
        workflow.worklist.put(an_entry("E2", step__id="SPS2"))
        workflow.steps.create(a_step())
        entry = workflow.worklist.get("yanan", "E1")
        assert entry is not None
        assert (entry.state, entry.performed_step) == (EntryState.STARTED, STEP)
        assert found(workflow, WorklistQuery(YANAN)) == ["E1", "E2"], "a modality still sees what has begun"
        workflow.steps.change("yanan", STEP, lambda step: ended(step, "COMPLETED"))
        entry = workflow.worklist.get("yanan", "E1")
        assert entry is not None
        assert (entry.state, entry.changed_at) == (EntryState.COMPLETED, LATER)
        assert found(workflow, WorklistQuery(YANAN)) == ["E2"]

    def test_an_accession_number_names_an_entry_where_the_modality_made_its_own_study(
        self, workflow: Workflow
    ) -> None:
        workflow.worklist.put(an_entry(procedure__study_instance_uid="9.9"))
        workflow.steps.create(a_step())
        entry = workflow.worklist.get("yanan", "E1")
        assert entry is not None
        assert entry.state is EntryState.STARTED

    def test_a_step_without_a_scheduled_one_moves_nothing(self, workflow: Workflow) -> None:
        workflow.worklist.put(an_entry())
        item = {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}, "00400009": {"vr": "SH"}}
        workflow.steps.create(a_step(t00400270={"vr": "SQ", "Value": [item]}))
        entry = workflow.worklist.get("yanan", "E1")
        assert entry is not None
        assert entry.state is EntryState.SCHEDULED

    def test_what_has_begun_can_neither_be_ordered_otherwise_nor_cancelled(self, workflow: Workflow) -> None:
        workflow.worklist.put(an_entry())
        workflow.steps.create(a_step())
        before = workflow.worklist.get("yanan", "E1")
        assert workflow.worklist.put(an_entry()) is Placed.UNCHANGED
        with pytest.raises(EntryBegun):
            workflow.worklist.put(an_entry(step__modality="MR"))
        with pytest.raises(EntryBegun):
            workflow.worklist.cancel("yanan", "E1", LATER)
        assert workflow.worklist.get("yanan", "E1") == before

    def test_a_step_comes_back_with_all_that_the_modality_said(self, workflow: Workflow) -> None:
        step = a_step(t00080090={"vr": "PN", "Value": [{"Alphabetic": "a\0b"}]})
        workflow.steps.create(step)
        assert workflow.steps.get("yanan", STEP) == step
        with pytest.raises(StepRefused) as refused:
            workflow.steps.create(step)
        assert refused.value.status == 0x0111
        with pytest.raises(StepRefused) as refused:
            workflow.steps.change("yanan", "9.9.9", lambda known: known)
        assert refused.value.status == 0x0112

    def test_a_change_that_is_refused_changes_nothing(self, workflow: Workflow) -> None:
        workflow.worklist.put(an_entry())
        workflow.steps.create(a_step())
        workflow.steps.change("yanan", STEP, lambda step: ended(step, "DISCONTINUED"))
        with pytest.raises(StepRefused):
            workflow.steps.change("yanan", STEP, lambda step: ended(step, "COMPLETED"))
        kept = workflow.steps.get("yanan", STEP)
        assert kept is not None
        assert kept.status is StepStatus.DISCONTINUED
        entry = workflow.worklist.get("yanan", "E1")
        assert entry is not None
        assert entry.state is EntryState.DISCONTINUED

    def test_steps_are_found_by_study_and_status_last_changed_first(self, workflow: Workflow) -> None:
        for number in range(3):
            workflow.steps.create(a_step(f"{STEP}.{number}", now=NOON + timedelta(minutes=number)))
        workflow.steps.change("yanan", f"{STEP}.0", lambda step: ended(step, "COMPLETED"))
        uids = [step.sop_instance_uid[-1] for step in workflow.steps.find(StepQuery(YANAN, "1.2.3"))]
        assert uids == ["0", "2", "1"]
        assert workflow.steps.find(StepQuery(YANAN, "1.2.4")) == []
        running = workflow.steps.find(StepQuery(YANAN, status=StepStatus.IN_PROGRESS, limit=1, offset=1))
        assert [step.sop_instance_uid[-1] for step in running] == ["1"]

    def test_of_many_that_end_a_step_at_once_one_does(self, workflow: Workflow) -> None:
        workflow.steps.create(a_step())
        refused: list[int] = []

        def end(status: str) -> None:
            try:
                workflow.steps.change("yanan", STEP, lambda step: ended(step, status))
            except StepRefused as error:
                refused.append(error.status)

        threads = [Thread(target=end, args=(s,)) for s in ("COMPLETED", "DISCONTINUED") * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == [0x0110] * 5

    def test_the_same_entry_put_by_many_at_once_is_there_once(self, workflow: Workflow) -> None:
        done: list[Placed] = []
        threads = [Thread(target=lambda: done.append(workflow.worklist.put(an_entry()))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [Placed.ADDED] + [Placed.UNCHANGED] * 5
