"""Work out a refund by rules, and ask a person where it is large.

The rules: a damaged item is refunded whole within a year; an unwanted one whole within 30 days, by half
within 90, then not at all. Amounts are whole cents. A refund above `LIMIT_CENTS` waits for a person, for as
long as it takes: the run ends `interrupted`, and a resume with the answer continues it.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypedDict

from runyard import Context, agent

ORDER_BOOK = Path(__file__).with_name("orders.json")
LIMIT_CENTS = 10_000
REFUNDS = ("refunds",)
"""The namespace of the store that remembers every decided refund under the id of its order."""

Reason = Literal["damaged", "unwanted"]


@dataclass(frozen=True)
class Request:
    order: str
    """The id of an order of the order book, such as A-1002."""
    reason: Reason = "unwanted"
    returned: date | None = None
    """The day the item came back; today where it is absent."""


class Order(TypedDict):
    id: str
    customer: str
    item: str
    paid_cents: int
    delivered: str


class Refund(TypedDict):
    order: str
    amount: int
    decided_by: Literal["rules", "person"]


class Decided(TypedDict):
    refund: Refund


@agent(name="Refund", description="Works out a refund by rules and asks a person when it is large.")
async def refund(input: Request, ctx: Context) -> Decided:
    # Steps, because the answer may come days later: the agent is then entered from its first line again and
    # must see the same order and the same day as when it asked.
    order = await ctx.step("find order", find_order, input.order)
    returned = input.returned or date.fromisoformat(await ctx.step("today", today))
    amount = refund_due(order, input.reason, returned)
    await ctx.update({"order": order, "amount": amount})

    large = amount > LIMIT_CENTS
    if large:
        amount = await ask_person(ctx, order, amount)
    decided: Refund = {"order": order["id"], "amount": amount, "decided_by": "person" if large else "rules"}
    await ctx.store.put(REFUNDS, order["id"], dict(decided))
    return {"refund": decided}


async def ask_person(ctx: Context, order: Order, amount: int) -> int:
    """The cents that a person grants; after an answer that makes no sense it asks again and says why."""
    question = f"Refund {euros(amount)} to {order['customer']} for {order['item']}?"
    problem: str | None = None
    while True:
        answer = await ctx.interrupt({"question": question, "order": order, "amount": amount, "problem": problem})
        try:
            return approved_amount(answer, amount, order["paid_cents"])
        except ValueError as error:
            problem = str(error)


def find_order(order_id: str) -> Order:
    """Raises ValueError where the order book has no such order, naming those it has."""
    book: list[Order] = json.loads(ORDER_BOOK.read_text(encoding="utf-8"))
    orders = {order["id"]: order for order in book}
    if order_id not in orders:
        raise ValueError(f"no order {order_id!r}: the order book has {', '.join(orders)}")
    return orders[order_id]


def today() -> str:
    return date.today().isoformat()


def refund_due(order: Order, reason: Reason, returned: date) -> int:
    """The refund in cents that the rules give, before any person has a say."""
    days = (returned - date.fromisoformat(order["delivered"])).days
    if days < 0:
        raise ValueError(f"returned is {returned}: order {order['id']} was delivered later, on {order['delivered']}")
    if reason == "damaged":
        return order["paid_cents"] if days <= 365 else 0
    if days <= 30:
        return order["paid_cents"]
    return order["paid_cents"] // 2 if days <= 90 else 0


def approved_amount(answer: Any, asked: int, most: int) -> int:
    """The cents a person grants by answering "approve", "deny" or {"amount": cents}.

    Raises ValueError for any other answer, and for an amount that is below 0 or above `most`.
    """
    match answer:
        case "approve":
            return asked
        case "deny":
            return 0
        case {"amount": int(cents)} if not isinstance(cents, bool) and 0 <= cents <= most:
            return cents
        case _:
            raise ValueError(f'{answer!r} is no answer: say "approve", "deny" or {{"amount": 0 to {most}}}')


def euros(cents: int) -> str:
    return f"EUR {cents / 100:.2f}"
