"""Parts of face detectors: the nets of MTCNN in bounded memory, pictures that lie on their side."""
