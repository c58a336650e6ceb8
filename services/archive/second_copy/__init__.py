"""The second copy: what the bucket holds, encrypted before it leaves, in an S3 bucket elsewhere (ADR-0018)."""
