"""What waits for people? Reviews, the steps they take, and the timers that take the rest."""
