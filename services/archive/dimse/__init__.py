"""DIMSE: what modalities speak to the archive (PS3.7, PS3.4 annexes A and B)."""
