"""How long the fault tests go on: `./pacs test --all --scale 20`, or PACS_SCALE=20 beside pytest."""

from __future__ import annotations

import os

SCALE = max(1, int(os.environ.get("PACS_SCALE", "1")))
"""1 in continuous integration. Each test says what it does more of."""
