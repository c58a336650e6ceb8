"""A client of the branch's PostgreSQL, on the branch: commits numbered rows and says each number afterwards.

`python -m tests.region.row_writer <create|write|read|drop>` in the branch's network namespace; the connection's
URL is the first line of its standard input, so that no argument list shows it.
"""

from __future__ import annotations

import itertools
import sys
import time

import psycopg

_PAUSE_SECONDS = 0.005  # a commit is the test, not the rate of commits


def main(verb: str, url: str) -> None:
    """`write` commits row after row until it is killed; `read` says which numbers are there."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if verb in {"create", "drop"}:
            connection.execute("DROP TABLE IF EXISTS fault_drill")
        if verb == "create":
            connection.execute("CREATE TABLE fault_drill (number integer PRIMARY KEY)")
        if verb == "read":
            for (number,) in connection.execute("SELECT number FROM fault_drill"):
                sys.stdout.write(f"{number}\n")
        if verb == "write":
            ((last,),) = connection.execute("SELECT coalesce(max(number), 0) FROM fault_drill")
            for number in itertools.count(last + 1):
                connection.execute("INSERT INTO fault_drill VALUES (%s)", [number])
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()
                time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.readline().strip())
