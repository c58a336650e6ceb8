"""What a region's operators see: boards, rules and alerts, written once and rendered for every reader."""
