"""Dynamic resources: what Pulumi's own providers do not know.

Each provider is a class of an importable module without any state, so that its pickled form is a
reference of some bytes and stays the same from run to run.
"""
