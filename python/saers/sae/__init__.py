"""Sparse autoencoders: the module, its training, its metrics, its files.

Modules are imported from their own place (``saers.sae.training``), so that the configuration
can be read without importing torch.
"""
