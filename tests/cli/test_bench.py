from __future__ import annotations

import pytest

from cli.bench import chosen
from cli.errors import UsageError

KNOWN = [1, 2, 11]


def test_rows_are_measured_in_their_order_however_they_are_named() -> None:
    assert chosen("11, 1", KNOWN) == [1, 11]
    assert chosen("", KNOWN) == KNOWN


@pytest.mark.parametrize("text", ["3", "1,x", "-1", "1-2", "1.0"])
def test_a_row_that_is_none_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="1, 2, 11"):
        chosen(text, KNOWN)
