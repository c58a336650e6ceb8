"""The outside world behind the edge's ports."""
