"""Motif engines and databases of known motifs."""
