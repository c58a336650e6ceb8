"""Looking after what is stored: index against bucket, rebuild, compaction, sweep (contracts, section 19)."""
