import pytest

from .fake import FakeServer


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()
