"""`./pacs verify`: what a modality sends at a branch can be read at the centre, unchanged and soon."""

from cli.verify.command import verify

__all__ = ["verify"]
