"""The ledger: what happened to each instance, as rows for people; a projection of files."""
