"""Encryption at rest: wrapping keys, data keys of institutions, and the key of each object (ADR-0018)."""
