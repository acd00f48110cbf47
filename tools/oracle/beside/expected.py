"""The differences that are meant: where they show (patterns of a step and of a place in its answer), and why."""

from __future__ import annotations

from fnmatch import fnmatchcase

from tools.oracle.beside.compare import Difference

PLATFORM = "facts of the vendor's platform, and what it copies from one place to another"
RUN_FACTS = "what LangGraph adds to callbacks is not recorded: messages say node, run, tags and metadata"
ALWAYS = "here the field is always there, as the clients' types say"
REFUSED = "what cannot be obeyed is refused when it is asked for, by the field's name"
OBEYED = "obeyed here; the vendor's server refuses it, fails, or ignores it"
NULL = "null is as good as absence here; the vendor refuses it for some fields"
LIMITS = "limits are 1 to 1000 here, for every list"
CONFIGURED = "configuration and context are given back as they were sent, and taken together"
TOLD = "what was asked for is told"
WRITES = "what the tasks of a finished step gave is in the state behind it, and kept there alone"
SCHEMAS = "schemas are those that the agent was published with, messages in one form"
WHOLE = "a message has the id that it has in the state, and is told to its end; a chunk tells the call that it begins"
OPEN = "open questions are told together when the run has ended with them"
STATES = "a stream tells states as they come to be: not that which a resumed run begins with"
EMPTY = "a channel that nothing was written to is not in what runs tell; GET state has its default"
CANCELLED = "a thread is interrupted where a question is open; a cancelled run leaves it idle, and null goes on"
V2 = "the streaming protocol: docs/streaming.md says what is told, and replays are of what counts still"

EXPECTED: tuple[tuple[str, str, str], ...] = (
    # fields
    *(("*", f"*metadata.{name}", PLATFORM) for name in (
        "created_by", "langgraph_*", "user_id", "run_attempt", "thread_id", "checkpoint_id", "checkpoint_ns",
        "checkpoint_map", "kind", "m", "graph_id", "assistant_id",
    )),
    *(("*", f"*metadata.{name}", "our names for the agent and the attempt") for name in ("agent_id", "attempt")),
    *(("*", f"*configurable.{name}", PLATFORM) for name in (
        "__*", "langgraph_*", "assistant_id", "graph_id", "run_id", "user_id", "thread_id",
    )),
    ("*", "*langsmith*", PLATFORM),
    ("*", "*cancel_reason", ALWAYS),
    ("system//info", "body.*", "each server's own"),
    ("system//metrics*", "body.*", "each server's own"),
    *(("modes/*", f"messages*.{name}", RUN_FACTS) for name in (
        "langgraph_*", "checkpoint_ns", "lc_*", "ls_*", "run_attempt", "created_by", "tags", "flavour",
    )),
    ("modes/*", "messages*", WHOLE),
    ("modes/*: messages*", "events", WHOLE),
    ("modes/tasks*", "tasks*.error", "the text of an error, as the clients' types say"),
    ("modes/breaks: *", "*.error", "the text of an error, as the clients' types say"),
    ("*", "*kwargs.c*", CONFIGURED),
    ("*", "body*.config*", CONFIGURED),
    ("assistants/*", "body*.context*", CONFIGURED),
    *(("*", f"*kwargs.{name}", TOLD) for name in ("on_*", "after_seconds")),
    ("*", "header.x-pagination-*", "every list says whether there is more, and a true total where it knows one"),
    ("*", "*response_schema", ALWAYS),
    ("*", "body*.error", ALWAYS),
    ("*", "body*interrupts", ALWAYS),
    ("*", "body*interrupts.<*", "by the question's own id"),
    ("*", "*checkpoint.checkpoint_*", ALWAYS),
    ("*", "*tasks*.result", WRITES),
    ("*", "body*.created_at", "when a delayed run was created, not when it is due"),
    ("assistants/*", "body*_schema*", SCHEMAS),
    ("assistants/*", "*.graph_id", "the graph that a subgraph is of"),
    ("assistants/*", "*nodes*.data.id", "where the class of a node is from"),
    ("assistants/versions*", "*updated_at", ALWAYS),
    ("crons/*", "*.last_error", "more: why the last time made no run"),
    ("crons/*", "*payload.*", "of a cron, what its runs are asked for and nothing else"),
    ("crons/*", "*user_id", "null where nobody is named"),
    ("crons/*", "body*.end_time", "every time is told in one form"),
    ("crons/patch: disabled", "body.next_run_date", "null where nothing is to come"),
    *(("runs/" + step, "body*.status", "a run begins at once where a slot is free") for step in (
        "create*", "stateless *", "batch",
    )),
    ("runs/thread of delayed", "body.status", "a thread is busy when a run of it is due"),
    ("runs/thread of cancelled*", "body.status", CANCELLED),
    ("runs/thread of interrupt after all", "body.status", "a run that was told to stop after a node has stopped there"),
    # refusals, and what the vendor's server does not do
    *((f"*{step}", "*", NULL) for step in ("nulls", "null", "of nulls", "/None: *", "patch: nothing")),
    *((f"*{step}", "*", LIMITS) for step in (
        "limit 0", "limit=0", "limit 1001", "limit=1001", "limit=x", "offset=-1", "depth 0", "batch of none",
    )),
    *((f"*{step}", "*", REFUSED) for step in (
        "empty id", "of nobody", "without graph", "of a bad node", "bad ids", "list input", "text input", "recursion 0",
        "after -1", "bad input*", "status=bad", "copy: unknown", "copy: bad", "/empty update", "bad select",
        "at unknown", "at bad", "as nobody", "of a list", "join unknown", "join from garbage", "rollback",
        "goto nowhere*",
        "input and command*", "one value*", "unknown id", "resume on *", "/strict", "what is done", "from unknown",
        "bad end", "no schedule", "unknown assistant", "no namespace", "empty label", "dotted label", "reserved",
        "get: key=k1", "get: namespace=beside.a", "get: namespace=&key=k1", "bad filter", "get bad",
    )),
    *((f"*{step}", "*", OBEYED) for step in (
        "config with context", "config and context", "search: unknown graph", "count none", "xray=0", "its thread",
        "of a command*", "of two nodes*", "with ttl", "search: by values", "count: values", "no ids", "prune latest",
        "/copy", "copy: thread", "copy: empty one", "select*", "history by POST, before*", "of metadata", "at by map",
        "metadata=*", "stateless: mode", "resume null*", "goto sends*", "from map", "from bad", "search: by name",
        "namespace=a&key=k1", "no prefix", "null prefix", "join for both", "stream_modes=*", "streams/thread",
        "search: by graph", "search: page", "count by graph", "copy of a busy thread", "join asking", "list?*",
    )),
    ("*sort status*", "*", "threads of one status are in the order of their making"),
    *(("states/" + step, "body.length", "ten where no limit is given, as the vendor documents") for step in (
        "history without a limit", "history before", "inner history", "history of step",
    )),
    ("*", "body.checkpoint", ALWAYS),
    ("*", "body.metadata", ALWAYS),
    ("store/search*", "body.items*", "updated last comes first"),
    ("resuming/history from*", "*", "runs that the vendor's server begins elsewhere came before"),
    *((f"odd/*{step}", "status", REFUSED) for step in (
        "latest: empty", "/copy: *", "batch: list", "crons: empty", "crons/U: empty",
    )),
    ("odd/*commands: *", "*", "a refused command is answered in one form, whatever is wrong with it"),
    ("odd/*history: empty", "body.length", "ten where no limit is given, as the vendor documents"),
    # what HTTP has beside the operations
    ("system/HEAD *", "status", "HEAD is not among what is served"),
    ("system/trailing slash", "status", "paths are as they are documented"),
    ("system/preflight", "status", "methods and headers need not be named with the origins"),
    ("system/*page", "header.access-control-expose-headers", "every header that clients read"),
    # streams
    ("streams/two*", "*", OPEN),
    ("modes/outer: * with subgraphs", "events", OPEN),
    ("streams/resume*", "*", STATES),
    ("streams/join*", "events", "metadata come first for whoever joins"),
    ("strategies/*: busy", "body.values", "the state as it is now, while a run executes"),
    # known, and not as they could be
    ("*", "*values*.n", EMPTY),
    ("*", "*values*.path", EMPTY),
    ("resuming/careful: update*", "*path.length", "an update of a thread that still asks shows when it goes on"),
    ("states/the thread", "*", "an update of nothing keeps the state"),
    ("commands/*", "*", V2),

)  # fmt: skip


def reason(difference: Difference) -> str | None:
    """Why it is expected; None where it is not."""
    for step, place, why in EXPECTED:
        if fnmatchcase(difference.step, step) and fnmatchcase(difference.place, place):
            return why
    return None
