"""The domain: pure functions from frames to frames, without I/O, clock or environment."""
