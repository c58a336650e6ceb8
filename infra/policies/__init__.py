"""Checks on what the program is about to create."""
