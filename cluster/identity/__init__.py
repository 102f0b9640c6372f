"""Who is asking: tokens, the keys that sign them, and the principal that they prove."""
