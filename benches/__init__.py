"""Comparisons with peers in the same run; ``make bench`` writes docs/benchmarks.md."""
