"""The department's workflow: what is scheduled (worklist) and what was performed (MPPS)."""
