"""The region's own certificate authority, kept on the operator's machine (ADR-0005)."""
