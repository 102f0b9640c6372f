"""What must be remembered? One room per stateful service; the rooms do not know one another."""
