"""Load tests: people and machines of a hospital at work, through a region's public interfaces only."""
