"""What is outside, and how do we touch it? Settings, store, engines, circuits and metrics."""
