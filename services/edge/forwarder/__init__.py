"""From the outbox to the centre: what waits, in which order it goes, and what is done about each answer."""
