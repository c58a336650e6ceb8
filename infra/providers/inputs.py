"""Inputs of a dynamic resource as the program declared them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_declared(value: Any) -> Any:
    """The value with its whole numbers as integers and its keys sorted.

    Pulumi carries every number as a double and every mapping in any order: a template would print 7 as 7.0, and a
    mapping otherwise in each run.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: as_declared(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [as_declared(inner) for inner in value]
    return value
