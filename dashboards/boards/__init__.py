"""Boards: outlines of rows; what a panel shows comes from `queries`."""
