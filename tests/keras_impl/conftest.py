"""What tests of the Keras stack share."""

import keras
import pytest


@pytest.fixture
def machine(monkeypatch):
    """fn(backend, *devices): Keras says that it runs there."""

    def pretend(backend, *names):
        monkeypatch.setattr(keras.backend, "backend", lambda: backend)
        monkeypatch.setattr(keras.distribution, "list_devices", lambda: list(names))

    return pretend
