"""Deletion and rejection: immutable documents beside the packs, and what they hide (contracts, section 17)."""
