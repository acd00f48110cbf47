"""Which server is meant, and who calls: by argument, else by the environment."""

import os

from ap_client.configuration import Configuration

DEFAULT_URL = "http://127.0.0.1:8000"


def configuration_of(url: str | None, api_key: str | None) -> Configuration:
    """The settings for a URL and a key; without them `RUNYARD_URL` and `RUNYARD_API_KEY` are taken."""
    address = url or os.environ.get("RUNYARD_URL") or DEFAULT_URL
    if "://" not in address:
        address = f"http://{address}"
    return Configuration(host=address, access_token=api_key or os.environ.get("RUNYARD_API_KEY") or None)
