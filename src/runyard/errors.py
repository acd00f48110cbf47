"""Everything that can go wrong, as one tree.

    RunyardError
    ├── InvalidInput            the request does not fit                     validation_error
    │   ├── Unsupported         a known field that this server cannot obey   unsupported
    │   └── IdempotencyMismatch the key was used with another body           idempotency_mismatch
    ├── Unauthorized            no principal                                 unauthorized
    ├── Forbidden               the principal may not do this                forbidden
    ├── NotFound                absent, or somebody else's                   agent_not_found, thread_not_found, ...
    ├── Conflict                the state of things forbids it               thread_exists, thread_busy, run_active, ...
    ├── TooLarge                the body is over the limit                   too_large
    ├── TooManyRuns             as many runs wait as may                     too_many_runs
    ├── StillStopping           a cancelled run's code has not stopped yet   still_stopping
    ├── Unavailable             the server is draining or cannot write       unavailable
    ├── StorageError            the database failed or refused               storage_error
    │   └── CorruptCheckpoint   a stored state that cannot be read           corrupt_checkpoint
    ├── AgentFailed             an agent's code failed outside of any run    agent_error
    ├── AgentTimeout            it did not answer in time                    agent_timeout
    ├── AgentElsewhere          it is needed, and executes elsewhere         agent_elsewhere
    ├── EmbeddingFailed         what makes vectors of texts failed           embedding_failed
    │   └── EmbeddingTimeout    it did not answer in time                    embedding_timeout
    ├── Undelivered             another server did not take what was sent    no_answer, not_allowed, ...
    ├── CancelRequested         an end that overlooked a request to cancel   cancel_requested
    └── LeaseLost               an attempt that no longer owns its thread    lease_lost

Each error carries a stable `code` for programs, a `message` for people and `metadata` for both. How a code becomes
an HTTP status is the business of `runyard.api.problems` alone.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RunyardError(Exception):
    """The root of all errors that Runyard raises on purpose.

    `code` is stable; `message` names the field, the value and what is allowed; `metadata` holds plain data.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, **metadata: Any) -> None:
        super().__init__(message)
        self.message = message
        self.reason: str = code or type(self).code
        self.metadata = metadata


class InvalidInput(RunyardError):
    """A request that does not fit; `metadata["field"]` names what is wrong with it."""

    code = "validation_error"


class Unsupported(InvalidInput):
    """A known field (or value) that this server, or this agent, cannot obey."""

    code = "unsupported"


class IdempotencyMismatch(InvalidInput):
    """An `Idempotency-Key` that was first used with another body."""

    code = "idempotency_mismatch"


class Unauthorized(RunyardError):
    """The request carries no valid key."""

    code = "unauthorized"


class Forbidden(RunyardError):
    """The principal is known, but its scope does not allow this."""

    code = "forbidden"


class NotFound(RunyardError):
    """What was asked for does not exist, or belongs to somebody else: the two are not told apart."""

    code = "not_found"


class Conflict(RunyardError):
    """The request fits, but the present state forbids it."""

    code = "conflict"


class TooLarge(RunyardError):
    """The body is larger than the setting `max_body_bytes` allows."""

    code = "too_large"


class TooManyRuns(RunyardError):
    """As many runs are pending as the settings allow; `metadata` says how many, and the limit."""

    code = "too_many_runs"


class StillStopping(RunyardError):
    """A cancelled run's code has not stopped within the grace period; its writes are fenced off."""

    code = "still_stopping"


class Unavailable(RunyardError):
    """The server cannot take this now; trying again later may work."""

    code = "unavailable"


class LeaseLost(RunyardError):
    """A write of an attempt whose lease is no longer the thread's: nothing was written."""

    code = "lease_lost"


class CancelRequested(RunyardError):
    """An attempt wanted to end without knowing of a request to cancel; `metadata["action"]` says which."""

    code = "cancel_requested"


class StorageError(RunyardError):
    """The database failed or refused; nothing of the call was written."""

    code = "storage_error"


class CorruptCheckpoint(StorageError):
    """A stored state of a graph that is not what was written: nothing of it was used."""

    code = "corrupt_checkpoint"


class AgentFailed(RunyardError):
    """An agent's code failed at what it was asked outside of any run; the message tells its error."""

    code = "agent_error"


class AgentTimeout(RunyardError):
    """An agent's code did not answer in time what it was asked outside of any run."""

    code = "agent_timeout"


class AgentElsewhere(RunyardError):
    """What is asked takes an agent's code, and only other servers have that."""

    code = "agent_elsewhere"


class EmbeddingFailed(RunyardError):
    """What makes vectors of texts (`store.index.embed`) failed, or gave no vectors; the message names it."""

    code = "embedding_failed"


class EmbeddingTimeout(EmbeddingFailed):
    """It did not answer in time, or all that it may do at once takes too long."""

    code = "embedding_timeout"


class Undelivered(RunyardError):
    """Another server was not reached, or gave no answer; the code says which."""

    code = "no_answer"


def agent_not_found(agent_id: str | None, known: list[str]) -> NotFound:
    """The error for an agent that no worker offers, naming those that exist."""
    if agent_id is None:
        return NotFound(
            f"agent_id is absent and no default agent is configured; agents here: {', '.join(known) or 'none'}",
            code="agent_not_found",
            agents=known,
        )
    return NotFound(
        f"agent_id {agent_id!r} is not an agent of this server; agents here: {', '.join(known) or 'none'}",
        code="agent_not_found",
        agent_id=agent_id,
        agents=known,
    )


def assistant_not_found(assistant_id: str) -> NotFound:
    return NotFound(
        f"assistant {assistant_id[:80]} does not exist", code="assistant_not_found", assistant_id=assistant_id
    )


def assistant_exists(assistant_id: str) -> Conflict:
    return Conflict(
        f"assistant {assistant_id} exists already; send if_exists=do_nothing to get it as it is",
        code="assistant_exists",
        assistant_id=assistant_id,
    )


def cron_not_found(cron_id: str) -> NotFound:
    return NotFound(f"cron {cron_id[:80]} does not exist", code="cron_not_found", cron_id=cron_id)


def thread_not_found(thread_id: str) -> NotFound:
    return NotFound(f"thread {thread_id} does not exist", code="thread_not_found", thread_id=thread_id)


def run_not_found(run_id: str) -> NotFound:
    return NotFound(f"run {run_id} does not exist", code="run_not_found", run_id=run_id)


def checkpoint_not_found(checkpoint_id: str, thread_id: str) -> NotFound:
    return NotFound(
        f"checkpoint {checkpoint_id} does not exist on thread {thread_id}",
        code="checkpoint_not_found",
        checkpoint_id=checkpoint_id,
        thread_id=thread_id,
    )


def item_not_found(namespace: tuple[str, ...], key: str) -> NotFound:
    return NotFound(
        f"item {key!r} does not exist in namespace {list(namespace)!r}",
        code="item_not_found",
        namespace=list(namespace),
        key=key,
    )


def delivery_not_found(delivery_id: str) -> NotFound:
    return NotFound(
        f"webhook delivery {delivery_id!r} does not exist", code="webhook_not_found", delivery_id=delivery_id
    )
