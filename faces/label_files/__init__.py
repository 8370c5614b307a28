"""Files of labels: found, read strictly, and turned into the tables of the readers in `faces.datasets`."""
