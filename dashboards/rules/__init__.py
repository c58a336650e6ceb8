"""Prometheus rules: what is recorded, and what wakes somebody."""
