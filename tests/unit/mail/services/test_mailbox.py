import asyncio
import time

from loopback_services import in_loop
from port25lab.mail.message import build_message
from port25lab.mail.services.mailbox import Mailboxes

TOKEN = "0123456789abcdef"
MESSAGE = build_message(TOKEN, "a@example.org", "b@example.net")


@in_loop
async def test_a_message_in_a_mailbox_settles_its_journey() -> None:
    boxes = Mailboxes()
    journey = boxes.follow(TOKEN)
    boxes.deliver("mx", "a@example.org", ("b@example.net",), MESSAGE)
    await journey.settled(5)
    assert journey.delivered_to == "mx"


@in_loop
async def test_a_journey_goes_on_while_a_relay_is_busy() -> None:
    boxes = Mailboxes()
    journey = boxes.follow(TOKEN)
    boxes.queued(TOKEN)
    boxes.deliver("mx", "a@example.org", ("b@example.net",), MESSAGE)
    waiting = asyncio.ensure_future(journey.settled(5))
    await asyncio.sleep(0)
    assert not waiting.done()
    boxes.told(TOKEN)
    await waiting


@in_loop
async def test_waiting_for_a_message_ends_with_the_time() -> None:
    started = time.perf_counter()
    await Mailboxes().follow(TOKEN).settled(0.01)
    assert time.perf_counter() - started < 1


def test_mailboxes_are_read_by_node_and_by_recipient() -> None:
    boxes = Mailboxes()
    boxes.deliver("mx", "a@example.org", ("b@example.net", "c@example.net"), MESSAGE)
    boxes.deliver("other", "", ("d@example.com",), b"no token\r\n")
    assert [message.node for message in boxes.messages()] == ["mx", "other"]
    assert [message.token for message in boxes.messages(node="mx")] == [TOKEN]
    assert [message.rcpt_tos for message in boxes.messages(recipient="C@Example.net")] == [
        ("b@example.net", "c@example.net")
    ]
    assert boxes.messages(node="other")[0].token is None
    assert boxes.messages(node="mx", recipient="d@example.com") == []
