"""Trained weights that packages of the Python index carry: which file, where it lies, and whether it is that one."""

from faces.published.packages import PUBLISHED, PublishedFile

__all__ = ["PUBLISHED", "PublishedFile"]
