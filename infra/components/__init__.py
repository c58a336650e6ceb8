"""Pulumi components: one noun of the architecture each."""
