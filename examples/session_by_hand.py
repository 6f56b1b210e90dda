"""Two sessions driven by hand: frames go from one to the other, over whatever carries bytes.  Needs numpy alone.

python -m examples.session_by_hand
"""

from __future__ import annotations

import secrets

import numpy as np

import tslt_wire as tw

V = 1000
TOKENIZER = bytes(32)  # the fingerprint of the tokenizer that both models have


def main() -> None:
    """Shake hands, send a prompt, and run ten rounds of evidence ``scalar``."""
    table = np.random.default_rng(0).normal(size=(V, V)) * 3  # in the place of two models
    hello = tw.Hello(vocab_size=V, tokenizer=TOKENIZER, evidence=("scalar", "list"), entropy=("range", "none"))
    device = tw.DeviceSession(hello)
    edge = tw.EdgeSession(tw.EdgeSettings(vocab_size=V, tokenizer=TOKENIZER), secret=secrets.token_bytes(32))
    rng = np.random.default_rng()

    def deliver(sender: tw.DeviceSession | tw.EdgeSession, receiver: tw.DeviceSession | tw.EdgeSession) -> tw.Event:
        """Carry one frame: here a call, elsewhere a socket."""
        (event,) = receiver.receive_data(sender.data_to_send())
        return event

    deliver(device, edge)  # HELLO
    deliver(edge, device)  # WELCOME
    device.send_prompt([1, 2, 3])
    deliver(device, edge)
    for _ in range(10):
        tokens: list[int] = []
        lists: dict[int, tw.SparseDistribution] = {}
        for parent in range(-1, 3):
            last = tokens[-1] if tokens else device.prefix[-1]
            lists[parent] = tw.sparsify(table[last], precision="f32")  # whole: it stays on the device
            tokens.append(lists[parent].sample(rng))
        tree = tw.TokenTree.chain(tokens)
        device.send_draft(tree, tw.ScalarEvidence.of(tree, lists))
        while device.open_draft is not None:
            answer(edge, deliver(device, edge), table)
            event = deliver(edge, device)
            if isinstance(event, tw.ProposalsReceived):
                device.choose(rng)  # takes one, or queues the question for more
    print(f"{len(device.prefix)} tokens: {list(device.prefix)}")
    print(f"{sum(device.sent.values())} bytes up, {sum(device.received.values())} down, handshake included")


def answer(edge: tw.EdgeSession, event: tw.Event, table: np.ndarray) -> None:
    """Answer a draft, or the question for more proposals."""
    sampling = edge.sampling
    if isinstance(event, tw.DraftReceived):
        tree = event.draft.tree
        rows = tw.target_rows(table[[edge.prefix[-1], *tree.tokens]], sampling)
        found = tw.verify(event.draft, rows, edge.generator(event), rejection=event.rejection)
        edge.send_answer(found, row=None if isinstance(found, tw.Verdict) else rows[1 + found.node])
    elif isinstance(event, tw.MoreAsked):
        last = event.proposals
        more = tw.propose(last.round, last.node, event.row, edge.generator(event), batch=last.batch + 1)
        edge.send_answer(more, row=event.row)


if __name__ == "__main__":
    main()
