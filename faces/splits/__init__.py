"""Who trains and who is tested: drawn parts, published protocols and published lists."""
