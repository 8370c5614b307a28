"""Estimates for photos: finding pictures, one row a face, tables of rows, marked pictures."""
