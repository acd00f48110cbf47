from ap_client.model import Model


class ThreadCheckpoint(Model, open=True):
    """Names one saved state of a thread."""

    checkpoint_id: str
