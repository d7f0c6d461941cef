"""The atlas as a static site: a folder that opens in any browser, from any place."""

from saers.viewer.site import write_site

__all__ = ["write_site"]
