"""The ledger: every decision, in a tree that can only grow and that anybody can check."""
