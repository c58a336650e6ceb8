"""The branch's line to the centre: forwards packs, keeps receipts, renews the site's certificate."""
