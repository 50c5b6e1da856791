"""What was accepted, durably, and how far its delivery is."""
