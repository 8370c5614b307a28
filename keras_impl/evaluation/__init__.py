"""A checkpoint's predictions on a data set, and the reports made of them."""
