"""Parts of face detectors that need no picture file: the cascade MTCNN in bounded memory."""
