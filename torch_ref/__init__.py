"""The pure-PyTorch reference: the same names and signatures as the training stack, written from the papers alone."""
