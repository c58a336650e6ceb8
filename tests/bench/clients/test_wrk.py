from __future__ import annotations

from dataclasses import replace

import pytest

from bench.clients.wrk import Asking, Load, check
from bench.errors import ClientError

OUTPUT = """Running 3s test @ https://pacs.pacs.local.test:1234/dicom-web
  2 threads and 10 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.93ms    1.10ms  23.10ms   91.20%
  15234 requests in 3.00s, 7.45GB read
Requests/sec:   5077.12
Transfer/sec:      2.48GB

RESULT {"requests":15234,"bytes":7999999999,"microseconds":3000500,"bad_status":0,"broken":0,"p50":1800,"p95":3900,"p99":6100}
"""
LOAD = Load.parse(OUTPUT)
ASKING = Asking(["/frames/1"], "application/octet-stream", 524288)


def test_the_result_is_read_from_among_what_wrk_prints() -> None:
    assert (LOAD.requests, LOAD.p99) == (15234, 6100)
    assert LOAD.rate == pytest.approx(5077.2, abs=0.1)
    check(LOAD, ASKING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unable to connect to 127.0.0.1:1 Connection refused\n",
        "RESULT {",
        OUTPUT.split("RESULT", maxsplit=1)[0],
    ],
)
def test_output_without_a_result_is_told(text: str) -> None:
    with pytest.raises(ClientError, match="no result"):
        Load.parse(text)


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (replace(LOAD, requests=0), "no request was answered"),
        (replace(LOAD, bad_status=3), "3 of 15234 answers"),
        (replace(LOAD, broken=1), "1 connections broke"),
        (replace(LOAD, bytes=15234 * 300), "answers have 300 bytes"),
    ],
)
def test_answers_that_are_refusals_or_too_short_are_no_measurement(load: Load, why: str) -> None:
    with pytest.raises(ClientError, match=why):
        check(load, ASKING)
