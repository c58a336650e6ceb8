"""The PACS services: one Python distribution, one image, one process each (docs/contracts.md, section 1)."""
