"""`train.py` without hydra: a configuration becomes a finished run folder."""
