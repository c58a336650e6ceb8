"""Pixels that need work: decoded, presented and transcoded in processes of their own (ADR-0016)."""
