"""How well engines find motifs planted in human sequence: sets, runs, and the table of both."""
