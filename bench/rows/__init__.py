"""The rows of the comparison: what is measured, between whom, and what is aimed at. One module a row."""
