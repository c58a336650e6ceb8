"""The region as a Pulumi program."""
