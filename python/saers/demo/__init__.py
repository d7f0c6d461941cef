"""The demonstration: a simulated genome with known truth, a small model, and the real pipeline."""
