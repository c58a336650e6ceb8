"""Programs as plain processes on loopback: what the comparison measures, and what integration tests need too."""
