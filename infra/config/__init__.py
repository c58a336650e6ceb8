"""RegionConfig: the one description of a region that everything else is derived from."""
