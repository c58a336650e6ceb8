"""What this machine has and what the region needs of it: one small check each, none changes anything."""
