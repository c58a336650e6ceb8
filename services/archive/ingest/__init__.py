"""Packs over the internet (docs/contracts.md, section 7): what branches send, the centre takes and signs for."""
