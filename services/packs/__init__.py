"""The bytes: instances, segment logs, packs and receipts (docs/contracts.md, sections 3 to 8; ADR-0003)."""
