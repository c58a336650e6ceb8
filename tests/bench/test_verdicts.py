from __future__ import annotations

from bench.results import CPU, Aim, Outcome
from bench.verdicts import verdicts, worst
from tests.bench.samples import AIM, FAILED, MISSED, RATE, REACHED, outcome, row


def test_an_aim_compares_medians() -> None:
    (verdict,) = verdicts(REACHED)
    assert (verdict.value, verdict.reached) == (6, True)


def test_a_factor_below_the_aim_is_not_reached() -> None:
    (verdict,) = verdicts(MISSED)
    assert (verdict.value, verdict.reached) == (3, False)


def test_a_subject_that_failed_leaves_its_aims_unreached_and_says_why() -> None:
    (verdict,) = verdicts(FAILED)
    assert verdict.value is None
    assert not verdict.reached
    assert "ended with 1" in (verdict.reason or "")


def test_the_worst_case_decides() -> None:
    both = row(
        [
            outcome("1", "archive", 900), outcome("1", "orthanc", 100),
            outcome("8", "archive", 400), outcome("8", "orthanc", 100),
        ]
    )  # fmt: skip
    assert [(v.case, v.value, v.reached) for v in worst(verdicts(both))] == [("8", 4, False)]


def test_a_case_without_figures_is_worse_than_any_that_has_some() -> None:
    both = row([*MISSED.outcomes, Outcome("8", "archive", reason="refused"), outcome("8", "orthanc", 1)])
    assert [v.case for v in worst(verdicts(both))] == ["8"]


def test_an_upper_bound_may_not_be_exceeded() -> None:
    aim = Aim(CPU, "archive", "orthanc", at_most=0.25)
    found = row([outcome("1", "archive", 1, cpu=1), outcome("1", "orthanc", 1, cpu=4)], [aim])
    assert verdicts(found)[0].reached
    found = row([outcome("1", "archive", 1, cpu=1.1), outcome("1", "orthanc", 1, cpu=4)], [aim])
    assert not verdicts(found)[0].reached


def test_a_bound_without_a_peer_is_about_the_value_itself() -> None:
    aim = Aim(RATE, "archive", at_least=600)
    assert verdicts(row(REACHED.outcomes, [aim]))[0].value == 600


def test_nothing_is_divided_by_zero() -> None:
    (verdict,) = verdicts(row([outcome("1", "archive", 5), outcome("1", "orthanc", 0)]))
    assert verdict.value is None
    assert "had 0" in (verdict.reason or "")


def test_an_aim_of_a_row_without_measurements_is_not_reached() -> None:
    (verdict,) = verdicts(row([]))
    assert not verdict.reached
    assert worst([verdict]) == [verdict]


def test_an_aim_of_one_case_looks_at_no_other() -> None:
    only = Aim(RATE, "archive", "orthanc", case="8", at_least=5)
    assert [v.case for v in verdicts(row(REACHED.outcomes, [AIM, only]))] == ["1 association", "8"]
    assert verdicts(row(REACHED.outcomes, [only]))[0].reason == "archive was not measured"
