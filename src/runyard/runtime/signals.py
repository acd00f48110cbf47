"""What ends an agent's code from inside its own calls.

RunyardError
├── NotSerialisable     a value that JSON cannot hold               not_serialisable
├── ValueTooLarge       a value, or a state, over the limit         value_too_large
├── EndedRun            a call after the run was over               run_ended
└── StaleAttempt        the store of an attempt that is over        stale_attempt
BaseException
└── RunSignal           passes `except Exception`, for it is no error of the code
    ├── Asked           a question is open: the run ends here, a resume continues it
    ├── Nondeterministic  the code does other things than it did    nondeterministic
    └── RecursionLimit  no step is left                             recursion_limit
"""

from __future__ import annotations

from runyard.errors import RunyardError


class NotSerialisable(RunyardError):
    """A value of the agent's code that JSON cannot hold; the message names its place and what is wrong with it."""

    code = "not_serialisable"


class ValueTooLarge(RunyardError):
    """A value of the agent's code, or the state that it would make, is larger than `max_value_bytes` allows."""

    code = "value_too_large"


class EndedRun(RunyardError):
    """A `ctx` call of code that outlived its run, such as a task that nobody awaited."""

    code = "run_ended"


class StaleAttempt(RunyardError):
    """A graph's code used the store of a run that is over, or that another attempt has taken over."""

    code = "stale_attempt"


class RunSignal(BaseException):
    """The run ends here, whatever the code makes of it. `code` is the run's failure code."""

    code = ""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Asked(RunSignal):
    """A question is open."""


class Nondeterministic(RunSignal):
    """A call that does not match what an earlier attempt, or the run before a resume, recorded."""

    code = "nondeterministic"


class RecursionLimit(RunSignal):
    """The run has made as many steps as `config.recursion_limit` allows."""

    code = "recursion_limit"
