"""Numbered SQL files, applied once each in the order of their names."""
