"""What no deep-learning framework owns: labels, images, data sets, splits, detection and reports."""
