"""Pure arithmetic: addresses, pools and sizes. No Pulumi, no files, no network."""
