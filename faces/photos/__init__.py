"""Estimates for photos: finding pictures, one row per face, tables of rows, marked pictures."""
