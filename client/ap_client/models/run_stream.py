from ap_client.models.run_create import RunCreate


class RunStream(RunCreate):
    """The wish for a run, by the name that the protocol's newer version gives it."""
