"""The Pulumi program, run in this process: its state, its events, and what a killed run leaves."""
