"""From label tables and images to batches."""
