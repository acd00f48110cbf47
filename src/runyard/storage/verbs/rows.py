"""Rows to nouns and back. The order of columns is that of `queries.sql`."""

from __future__ import annotations

from typing import Any

import msgspec

from runyard.checkpoints import Asked, Checkpoint, PendingWrite, Question, State, parse, render
from runyard.deliveries import Delivery, Notice
from runyard.items import Item, Namespace
from runyard.runs import Failure, Run
from runyard.threads import Thread

_encode = msgspec.json.Encoder().encode
_failure = msgspec.json.Decoder(Failure)
_asked = msgspec.json.Decoder(Asked)
_questions = msgspec.json.Decoder(list[Question])
_run = msgspec.msgpack.Decoder(Run)
_run_encode = msgspec.msgpack.Encoder().encode

RUN_COLUMNS = 25
"""How many columns a read of a run has."""
AGENT_COLUMN, LINE_COLUMN = 3, 21
"""Where its agent and its place in line are among them."""


def run_of(row: tuple[Any, ...]) -> Run:
    """From the columns of the query `run`."""
    values = list(row)
    values[12] = None if row[12] is None else _failure.decode(row[12])
    values[20] = bool(row[20])
    return Run(*values)


def thread_of(row: tuple[Any, ...]) -> Thread:
    """From the columns of the query `thread`."""
    values = list(row)
    values[9], values[11] = bool(row[9]), bool(row[11])
    return Thread(*values)


def checkpoint_of(row: tuple[Any, ...]) -> Checkpoint:
    """From the columns of the query `checkpoint`."""
    values = list(row)
    values[11] = None if row[11] is None else _asked.decode(row[11])
    return Checkpoint(*values)


def checkpoint_values(owner: str, checkpoint: Checkpoint) -> tuple[Any, ...]:
    """The values of the queries `insert_checkpoint` and `put_checkpoint`."""
    return (
        owner,
        checkpoint.checkpoint_id,
        checkpoint.thread_id,
        checkpoint.parent_id,
        checkpoint.run_id,
        checkpoint.created_at,
        checkpoint.step,
        checkpoint.source,
        checkpoint.kind,
        checkpoint.body,
        checkpoint.full_size,
        checkpoint.chain_size,
        None if checkpoint.asked is None else _encode(checkpoint.asked),
        checkpoint.namespace,
    )


def pending_of(row: tuple[Any, ...]) -> PendingWrite:
    """From the columns of the query `pending_writes`."""
    return PendingWrite(*row)


def pending_values(
    owner: str, thread_id: str, write: PendingWrite, run_id: str, value: bytes | None
) -> tuple[Any, ...]:
    """The values of the query `give`; without a value the write is settled."""
    return (
        owner, thread_id, write.namespace, write.on, write.task_id, write.index, write.channel, value, write.path,
        run_id,
    )  # fmt: skip


def failure_value(failure: Failure | None) -> bytes | None:
    return None if failure is None else _encode(failure)


def keep_run(run: Run) -> bytes:
    """A run as it is now, to be given again word for word."""
    return _run_encode(run)


def kept_run(body: bytes) -> Run:
    return _run.decode(body)


def namespace_value(namespace: Namespace) -> bytes:
    """Labels ended by NUL: byte order keeps what is below a namespace together."""
    return b"".join(label.encode() + b"\0" for label in namespace)


def namespace_of(value: bytes) -> Namespace:
    return tuple(value[:-1].decode().split("\0")) if value else ()


def item_of(row: tuple[Any, ...]) -> Item:
    return Item(namespace_of(row[0]), *row[1:])


def delivery_of(row: tuple[Any, ...]) -> Delivery:
    """From the columns of the query `delivery`."""
    values = list(row)
    values[10] = bool(row[10])
    return Delivery(*values)


def notice_values(number: int, run: Run, state: State, questions: list[Question]) -> tuple[Any, ...]:
    """The values of the query `insert_notice`."""
    return number, keep_run(run), render(state), _encode(questions)


def notice_of(row: tuple[Any, ...]) -> Notice:
    """From the columns of the query `notice`."""
    return Notice(kept_run(row[0]), parse(row[1]), _questions.decode(row[2]))
