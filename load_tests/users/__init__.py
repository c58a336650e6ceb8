"""The roles of a hospital: who asks for what, how often, and why we believe it."""
