import asyncio
import time

from loopback_services import in_loop
from port25lab.mail.services.mailbox import Mailboxes

TOKEN = "0123456789abcdef"


@in_loop
async def test_a_message_in_a_mailbox_is_settled() -> None:
    boxes = Mailboxes()
    delivery = boxes.delivery(TOKEN)
    boxes.deliver("mx", TOKEN)
    await delivery.settled(5)
    assert delivery.delivered_to == "mx"


@in_loop
async def test_a_delivery_is_not_settled_while_a_relay_has_a_copy() -> None:
    boxes = Mailboxes()
    delivery = boxes.delivery(TOKEN)
    boxes.queued(TOKEN)
    boxes.deliver("mx", TOKEN)
    waiting = asyncio.ensure_future(delivery.settled(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    boxes.settled(TOKEN)
    await waiting


@in_loop
async def test_waiting_for_a_message_ends_with_the_time() -> None:
    started = time.perf_counter()
    await Mailboxes().delivery(TOKEN).settled(0.01)
    assert time.perf_counter() - started < 1


def test_the_first_mailbox_counts_and_messages_without_a_token_are_not_followed() -> None:
    boxes = Mailboxes()
    for node, token in (("mx", TOKEN), ("other", TOKEN), ("third", None)):
        boxes.deliver(node, token)
    assert boxes.delivery(TOKEN).delivered_to == "mx"
