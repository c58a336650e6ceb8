"""What the gateway is told so that it can serve stored bytes itself: where they lie, and to whom they may be given."""
