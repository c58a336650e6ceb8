"""How a host becomes a site of the region and stays one: key, CSR, certificate, renewal (ADR-0005)."""
