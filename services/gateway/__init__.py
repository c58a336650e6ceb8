"""The centre's only door: nginx on port 443, its configuration rendered from typed settings (ADR-0006)."""
