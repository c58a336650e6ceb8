"""Synthetic, seeded data: no patient was ever in it."""
