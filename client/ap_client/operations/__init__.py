"""Every operation of the protocol as a pure function: from its arguments to a `Call`.

The shells (`ap_client.api`, `ap_client.aio`) take their methods, types and words from here.
"""
