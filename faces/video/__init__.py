"""Recordings and cameras: frames, faces followed from frame to frame, the marked copy."""
