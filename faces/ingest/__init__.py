"""From a raw data set to a checked label table, face crops and packed faces."""
