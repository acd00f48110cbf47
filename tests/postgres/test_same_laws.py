"""The laws of the engine and the journeys of the protocol on PostgreSQL: of all that `make test-postgres` runs there,
what `make test` does not go without."""

from tests.api.test_protocol import *  # noqa: F403
from tests.engine.test_laws import *  # noqa: F403
