"""Who is told what happens to reviews? Queues for each channel, and the loop that empties them."""
