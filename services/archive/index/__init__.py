"""The index: what is stored, where its bytes lie and how it is found. A projection of the packs (ADR-0004)."""
