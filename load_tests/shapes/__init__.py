"""How the load changes over time: one file per intent."""
