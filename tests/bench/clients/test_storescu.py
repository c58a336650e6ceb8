from __future__ import annotations

from bench.clients.storescu import Sent

GOOD = """I: checking input files ...
I: Requesting Association
I: Association Accepted (Max Send PDV: 131060)
I: Sending file: /dev/shm/a/000000.dcm
I: Converting transfer syntax: Little Endian Explicit -> Little Endian Explicit
I: Sending Store Request (MsgID 1, CT)
XMIT: ................
I: Received Store Response (Success)
I: Sending file: /dev/shm/a/000001.dcm
I: Received Store Response (Success)
I: Releasing Association
"""


def test_each_answer_is_counted() -> None:
    assert Sent.parse(GOOD) == Sent(2, 2, None)


def test_a_refusal_is_no_success_and_is_told() -> None:
    refused = GOOD.replace(
        "Response (Success)\nI: Releasing", "Response (Refused: OutOfResources)\nI: Releasing"
    )
    assert Sent.parse(refused) == Sent(2, 1, "Refused: OutOfResources")


def test_a_file_without_an_answer_is_no_success() -> None:
    cut = GOOD[: GOOD.rindex("I: Received")]
    assert Sent.parse(cut + "E: Store Failed, file: x: 0006:020e DUL network closed\n") == Sent(2, 1, None)


def test_an_association_that_was_refused_sent_nothing() -> None:
    assert Sent.parse("F: Association Rejected:\nF: Result: Rejected Permanent\n") == Sent(0, 0, None)
