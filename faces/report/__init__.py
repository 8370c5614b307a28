"""What an evaluation says, from per-sample columns: numbers, plain text, files, pictures and a page."""
