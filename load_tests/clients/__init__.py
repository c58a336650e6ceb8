"""Clients that report each request to Locust: DICOMweb over HTTP, and DIMSE."""
