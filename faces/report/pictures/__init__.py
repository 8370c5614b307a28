"""The pictures of reports and of training runs."""
