"""Adapters of the archive's ports; each translates its driver's errors into those of the port."""
