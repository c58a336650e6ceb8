"""`python -m infra.config.schema` writes the JSON Schema of a stack file, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from infra.config.region import CONFIG_KEY, STACKS, RegionConfig

SCHEMA_FILE = STACKS / "region.schema.json"


def render() -> str:
    """The schema as JSON text: a stack file is `config: {pacs:region: <RegionConfig>}`."""
    model = RegionConfig.model_json_schema()
    definitions = model.pop("$defs")
    definitions["RegionConfig"] = model
    region = {"$ref": "#/$defs/RegionConfig"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack of the regional PACS",
        "type": "object",
        "properties": {
            "config": {"type": "object", "properties": {CONFIG_KEY: region}, "required": [CONFIG_KEY]},
        },
        "required": ["config"],
        "$defs": definitions,
    }
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def write(path: Path = SCHEMA_FILE) -> Path:
    """Write the schema beside the stack files and return its path."""
    path.write_text(render(), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write())
