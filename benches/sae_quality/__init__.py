"""Recovery of a planted dictionary beside peers; `python -m benches.sae_quality`."""
