"""The running region of the local stack: what its users do with it, and what it does to the machine."""
