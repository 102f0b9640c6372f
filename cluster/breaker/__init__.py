"""Circuit breakers: one circuit for each thing outside, so that its failure stays its own."""
