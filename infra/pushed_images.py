"""Which images were pushed to the site's registry: `<state>/images.json`, reference -> manifest digest.

`./pacs images push` writes it image by image, so that a push that was cut off is known as far as it came; the
program reads it and names every image by its digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from services.common.durable import replace_file

FILE = "images.json"


def read(state_dir: Path) -> dict[str, str]:
    """What was pushed; empty before the first push."""
    path = state_dir / FILE
    if not path.is_file():
        return {}
    return {str(name): str(digest) for name, digest in json.loads(path.read_text(encoding="utf-8")).items()}


def write(state_dir: Path, digests: Mapping[str, str]) -> None:
    """Replace the record as a whole: it is the old or the new one whenever a run is killed."""
    text = json.dumps(dict(digests), indent=1, sort_keys=True) + "\n"
    replace_file(state_dir / FILE, text.encode(), mode=0o644)
