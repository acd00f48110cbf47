"""What verbs are going to look at: where looks cost a round trip each, those of a group can be made together."""

from __future__ import annotations

from runyard.storage.verbs.jobs import Job
from runyard.storage.verbs.runs import create_run, finish, may_begin_next, plain
from runyard.storage.verbs.transaction import Begun, Look


def foreseen(job: Job, begun: Begun) -> Look | None:
    """The first look of a verb, where that can be said and is about one thread. It may turn out not to be needed."""
    if job.verb is create_run:
        (new,) = job.arguments
        return ("thread_alone", (new.owner, new.thread_id)) if may_begin_next(new) else None
    if job.verb is finish:
        attempt, _, ending, _ = job.arguments
        if attempt.run_id not in begun or not plain(ending):
            return "attempt_standing", (attempt.run_id, attempt.lease)
    return None
