"""What waits for whom? Agents, their mailboxes, and the repair of cut-short deliveries."""
