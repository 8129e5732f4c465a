"""One queue, two clients, and a model of plain lists that always knows what has to be where."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pamqp.base import Frame
from pamqp.commands import Basic, Queue, Tx

from tests.protocol import wire
from tests.protocol.harness import Client, Harness
from tests.support.examples import examples

CANCELLED = ""
"""The consumer of what is outstanding still after its consumer was cancelled."""


@dataclass
class Outstanding:
    """A message with a client, as the model sees it."""

    number: int
    consumer: str | None
    """None for what basic.get fetched, which counts for no prefetch."""


@dataclass
class Side:
    """One client, as the model sees it."""

    client: Client
    outstanding: dict[int, Outstanding] = field(default_factory=dict)
    """Delivery tag -> what is unacknowledged."""
    tag: int = 0
    """The last delivery tag."""
    consumers: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Consumer tag -> prefetch, and whether it needs no acknowledgement."""
    shared: int = 0
    """The prefetch its consumers share."""
    transaction: tuple[list[int], list[tuple[list[int], bool]]] | None = None
    """Numbers published, and tags settled with whether they go back."""

    def unsettled(self) -> dict[int, Outstanding]:
        """What the client may still settle, in a transaction as outside."""
        _, waiting = self.transaction or ([], [])
        settled = {tag for tags, _ in waiting for tag in tags}
        return {
            tag: outstanding for tag, outstanding in self.outstanding.items() if tag not in settled
        }

    def takes(self, consumer: str) -> bool:
        """Whether a consumer may take one more message."""
        prefetch, no_ack = self.consumers[consumer]
        counted = [
            outstanding.consumer
            for outstanding in self.outstanding.values()
            if outstanding.consumer is not None
        ]
        if self.shared and len(counted) >= self.shared:
            return False
        return no_ack or not prefetch or counted.count(consumer) < prefetch


sides = st.sampled_from([0, 1])
consumer_tags = st.sampled_from(["a", "b"])


class QueueModel(RuleBasedStateMachine):
    """The model knows the messages and their order; the queue chooses the consumers."""

    @initialize()
    def begin(self) -> None:
        self.harness = Harness()
        self.sides = [Side(self.harness.open_client(1)) for _ in range(2)]
        self.sides[0].client.declare(1, "q")
        self.ready: list[int] = []
        self.back: set[int] = set()
        """Numbers that were delivered before."""
        self.arrived: list[int] = []
        """Numbers in the order in which the queue got them."""
        self.published = 0

    # --- what the clients do -----------------------------------------------------------------

    @rule(which=sides, count=st.integers(1, 4))
    def publish(self, which: int, count: int) -> None:
        side = self.sides[which]
        numbers = range(self.published, self.published + count)
        self.published += count
        side.client.publish(1, "q", *(b"%d" % number for number in numbers))
        if side.transaction is not None:
            side.transaction[0].extend(numbers)
        else:
            self.arrive(list(numbers))
        self.settle_deliveries()

    @rule(which=sides, tag=consumer_tags, prefetch=st.integers(0, 3), no_ack=st.booleans())
    def consume(self, which: int, tag: str, prefetch: int, no_ack: bool) -> None:
        side = self.sides[which]
        if tag in side.consumers:
            return
        side.client.call(1, Basic.Qos(prefetch_count=prefetch), Basic.QosOk)
        side.client.consume(1, "q", tag, no_ack=no_ack)
        side.consumers[tag] = (prefetch, no_ack)
        self.settle_deliveries()

    @rule(which=sides, tag=consumer_tags)
    def cancel(self, which: int, tag: str) -> None:
        side = self.sides[which]
        side.client.call(1, Basic.Cancel(consumer_tag=tag), Basic.CancelOk)
        side.consumers.pop(tag, None)
        for outstanding in side.outstanding.values():
            if outstanding.consumer == tag:
                outstanding.consumer = CANCELLED

    @rule(which=sides, count=st.integers(0, 3))
    def share(self, which: int, count: int) -> None:
        side = self.sides[which]
        side.shared = count
        side.client.send(1, Basic.Qos(prefetch_count=count, global_=True))
        self.settle_deliveries(reply=Basic.QosOk)

    @rule(which=sides, no_ack=st.booleans())
    def get(self, which: int, no_ack: bool) -> None:
        side = self.sides[which]
        side.client.send(1, Basic.Get(queue="q", no_ack=no_ack))
        if not self.ready:
            side.client.expect(1, Basic.GetEmpty())
            return
        content = side.client.expect_content(1)
        assert isinstance(content.method, Basic.GetOk)
        number = self.ready.pop(0)
        side.tag += 1
        assert content.body == b"%d" % number
        assert content.method.delivery_tag == side.tag
        assert content.method.redelivered == (number in self.back)
        assert content.method.message_count == len(self.ready)
        if not no_ack:
            side.outstanding[side.tag] = Outstanding(number, None)

    @precondition(lambda self: any(side.unsettled() for side in self.sides))
    @rule(data=st.data(), how=st.sampled_from(["ack", "nack", "reject"]), back=st.booleans())
    def settle(self, data: st.DataObject, how: str, back: bool) -> None:
        side = data.draw(st.sampled_from([side for side in self.sides if side.unsettled()]))
        tag = data.draw(st.sampled_from(sorted(side.unsettled())))
        multiple = how != "reject" and data.draw(st.booleans())
        tags = [each for each in side.unsettled() if each == tag or (multiple and each < tag)]
        if multiple and tags == list(side.unsettled()) and data.draw(st.booleans()):
            tag = 0
        if how == "ack":
            side.client.send(1, Basic.Ack(tag, multiple))
        elif how == "nack":
            side.client.send(1, Basic.Nack(tag, multiple, back))
        else:
            side.client.send(1, Basic.Reject(tag, back))
        if side.transaction is not None:
            side.transaction[1].append((tags, back and how != "ack"))
        else:
            self.settled(side, tags, back and how != "ack")
        self.settle_deliveries()

    @rule(which=sides)
    def select(self, which: int) -> None:
        side = self.sides[which]
        side.client.call(1, Tx.Select(), Tx.SelectOk)
        side.transaction = side.transaction or ([], [])

    @precondition(lambda self: any(side.transaction for side in self.sides))
    @rule(commit=st.booleans(), first=st.booleans())
    def end_transaction(self, commit: bool, first: bool) -> None:
        in_transaction = [side for side in self.sides if side.transaction]
        side = in_transaction[0 if first else -1]
        assert side.transaction is not None
        published, settled = side.transaction
        side.transaction = ([], [])
        if commit:
            side.client.send(1, Tx.Commit())
            self.arrive(published)
            for tags, back in settled:
                self.settled(side, tags, back)
            nothing_back = not any(back for _, back in settled)
            self.settle_deliveries(reply=Tx.CommitOk, from_the_front=nothing_back)
        else:
            side.client.call(1, Tx.Rollback(), Tx.RollbackOk)

    @rule(which=sides)
    def recover(self, which: int) -> None:
        side = self.sides[which]
        side.client.send(1, Basic.Recover(True))
        self.settled(side, list(side.unsettled()), True)
        self.settle_deliveries(reply=Basic.RecoverOk)

    @rule(which=sides)
    def purge(self, which: int) -> None:
        self.sides[which].client.send(1, Queue.Purge(queue="q"))
        self.sides[which].client.expect(1, Queue.PurgeOk(len(self.ready)))
        self.ready.clear()

    @rule(which=sides, how=st.sampled_from(["channel", "refused", "socket"]))
    def leave(self, which: int, how: str) -> None:
        side = self.sides[which]
        client = side.client
        if how == "channel":
            client.close_channels(1)
            client.open_channels(1)
        elif how == "refused":
            client.send(1, Basic.Ack(10**9))
            assert len(client.receive_all()) == 1
            client.reopen_channel(1)
        else:
            client.lose_socket()
            client = self.harness.open_client(1)
        self.sides[which] = Side(client)
        self.settled(side, list(side.outstanding), True)
        self.settle_deliveries()

    # --- what has to come of it --------------------------------------------------------------

    def settled(self, side: Side, tags: list[int], back: bool) -> None:
        """The queue learns of what was settled."""
        numbers = [side.outstanding.pop(tag).number for tag in tags]
        if back:
            self.back.update(numbers)
            self.ready = sorted(numbers + self.ready, key=self.arrived.index)

    def arrive(self, numbers: list[int]) -> None:
        """The queue gets messages."""
        self.arrived.extend(numbers)
        self.ready.extend(numbers)

    def settle_deliveries(
        self, reply: type[Frame] | None = None, *, from_the_front: bool = True
    ) -> None:
        """Receive what was delivered: the front of the queue, each to a consumer below its limits.

        A commit publishes before it gives anything back, so what it published may overtake.
        """
        arrivals: list[tuple[int, Side, wire.Content]] = []
        replies = 0
        for side in self.sides:
            for _, received in side.client.receive_all():
                if isinstance(received, wire.Content):
                    arrivals.append((int(received.body), side, received))
                else:
                    assert reply is not None
                    assert isinstance(received, reply)
                    replies += 1
        assert replies == (reply is not None)
        delivered = sorted((number for number, _, _ in arrivals), key=self.arrived.index)
        if from_the_front:
            assert delivered == self.ready[: len(arrivals)]
        assert set(delivered) <= set(self.ready), "nothing is invented"
        assert len(set(delivered)) == len(delivered), "nothing is delivered twice"
        for number, side, content in arrivals:
            method = content.method
            assert isinstance(method, Basic.Deliver)
            side.tag += 1
            assert method.delivery_tag == side.tag
            assert method.redelivered == (number in self.back)
            assert method.consumer_tag is not None
            assert side.takes(method.consumer_tag)
            if not side.consumers[method.consumer_tag][1]:
                side.outstanding[side.tag] = Outstanding(number, method.consumer_tag)
        for side in self.sides:
            order = [self.arrived.index(number) for number, other, _ in arrivals if other is side]
            assert order == sorted(order) or not from_the_front, "in order for each consumer"
        self.ready = [number for number in self.ready if number not in delivered]

    @invariant()
    def counts_agree(self) -> None:
        queue = self.harness.queue("q")
        assert queue.message_count() == len(self.ready)
        assert queue.unacknowledged == sum(len(side.outstanding) for side in self.sides)
        assert len(queue.consumers) == sum(len(side.consumers) for side in self.sides)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        if self.ready:
            for side in self.sides:
                assert not any(side.takes(tag) for tag in side.consumers)

    def teardown(self) -> None:
        reader = self.harness.open_client(1)
        for side in self.sides:
            for consumer in side.consumers:
                side.client.call(1, Basic.Cancel(consumer_tag=consumer), Basic.CancelOk)
        for side in self.sides:
            self.settled(side, list(side.outstanding), True)
            side.client.lose_socket()
        reader.consume(1, "q", "reader", no_ack=True)
        for tag, number in enumerate(self.ready, 1):
            reader.expect_delivery(
                1, "reader", tag, b"%d" % number, redelivered=number in self.back
            )
        reader.expect_nothing()
        self.harness.disconnect_all()


TestQueueModel = QueueModel.TestCase
TestQueueModel.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None
)
