"""A conversation over the endpoint of a device, with the openai client: bytes on the link to the edge, beside HTTP's.

python -m tslt_benchmarks.links.conversation --turns 10 --tokens 48
python -m tslt_benchmarks.links.conversation --target FOLDER --draft FOLDER --evidence match --json conversation.json

Each turn sends all messages to the endpoint, as every client of OpenAI's interface does, and streams a greedy answer,
which must be what the target's own generate() answers.  HTTP's bytes are those between the client and the endpoint,
requests and responses with their headers: what a device without a draft model would exchange with a server that runs
the target.  The link's are ZeroMQ's, the frames and what it adds.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tslt_transports import listen

import tslt_wire as tw
from tslt_benchmarks.meters import TcpMeter
from tslt_benchmarks.options import (
    add_model_options,
    command_parser,
    input_file,
    output_file,
    require_models,
    whole_number,
    write_json,
)
from tslt_runtime.chat.messages import Message
from tslt_runtime.chat.template import ChatTemplate, source_of, template_of
from tslt_runtime.drafting import DraftSettings
from tslt_runtime.edge import edge_settings, serve
from tslt_runtime.fingerprint import tokenizer_fingerprint
from tslt_runtime.loading import LoadedDraft, load_draft, load_target
from tslt_runtime.streaming import TextDevice
from tslt_runtime.tokenizer import Tokenizer
from tslt_runtime.verifiers.local import LocalVerifier

SYSTEM = "It was a dark evening, and the old man told his daughter all that he knew of the house."
QUESTIONS = (
    "Where is the old house?",
    "Who lives in it now?",
    "What did the captain say when he saw it?",
    "And his wife?",
    "How did they come to the village?",
    "Was it long before the war?",
    "Tell me what the children thought of the garden.",
    "Did the doctor ever come back?",
    "What was in the letter?",
    "So how did it all end?",
)
PLAIN = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}\nQ: {{ message.content }}\nA:"
    "{% else %}{{ message.content }}{% endif %}{% endfor %}"
)
"""The template for a model that has none, as those of the default pair."""
CHAIN = (1,) * 4
GREEDY = tw.SamplingRequest(temperature=0)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer."""

    tokens: int
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt: those that both ends had in their caches."""
    link_up: int
    link_down: int
    http_up: int
    http_down: int
    """Bytes."""
    equal: bool
    """Whether the text is the target's own."""


class Models:
    """A pair, its template, and the target's own answers."""

    def __init__(self, target: Path, draft: Path, template: Path | None) -> None:
        """``template``: the file of one; None takes the draft model's, or the plain one."""
        from transformers import AutoModelForCausalLM

        self.target = load_target(target)
        self._own: Any = AutoModelForCausalLM.from_pretrained(target, dtype="auto").eval()
        self.draft: LoadedDraft = load_draft(draft)
        tokenizer: Tokenizer = self.draft.tokenizer
        if template is None and source_of(tokenizer) is None:
            self.template = ChatTemplate(PLAIN, getattr(tokenizer, "special_tokens", None))
        else:
            self.template = template_of(tokenizer, template)

    def own_answer(self, messages: Sequence[Message], tokens: int) -> str:
        """What the target's generate() writes, greedily."""
        import torch

        ids = self.template.tokens(self.draft.tokenizer, messages)
        with torch.inference_mode():
            found = self._own.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)
        ends = set(self.target.engine.facts.eos_tokens)
        return self.draft.tokenizer.text_of([token for token in found[0, len(ids) :].tolist() if token not in ends])


@asynccontextmanager
async def endpoint(models: Models, settings: DraftSettings | None) -> AsyncIterator[tuple[Any, Any, int]]:
    """An edge and an endpoint before it, on loopback; yields (pool, served, port)."""
    import socket

    from tslt_runtime.commands.serve import server_of
    from tslt_runtime.endpoint.app import Served, application
    from tslt_runtime.endpoint.pool import Pool, Wanted

    verifier = LocalVerifier(models.target.engine)
    offered = edge_settings(
        verifier.facts, tokenizer_fingerprint(models.draft.tokenizer), chat_template=models.template.digest
    )
    listener = await listen("zmq", "tcp://127.0.0.1:0")
    edge = asyncio.create_task(serve(listener, verifier, offered, seed=None))

    def open_session(wanted: Wanted) -> AbstractAsyncContextManager[TextDevice]:
        return TextDevice.connect(
            *models.draft, edge=listener.address, sampling=wanted.sampling, settings=settings, template=models.template
        )

    pool = Pool(open=open_session, most=1, waiting=1)
    async with pool.lend(Wanted(GREEDY), ()) as device:
        context = device.device.context
    served = Served(model="target", context=context, tokenizer=models.draft.tokenizer, template=models.template)
    server = server_of(application(served, pool))
    with socket.create_server(("127.0.0.1", 0)) as door:
        task = asyncio.create_task(server._serve([door]))
        yield pool, served, door.getsockname()[1]
        server.should_exit = True
        await task
    await pool.close()
    await listener.close()
    await edge
    verifier.close()


async def converse(models: Models, *, turns: int, tokens: int, settings: DraftSettings | None) -> list[Turn]:
    """Hold the conversation."""
    from openai import AsyncOpenAI

    found = []
    async with endpoint(models, settings) as (pool, served, port):
        proxy = TcpMeter(port)
        address = f"http://127.0.0.1:{await proxy.open()}/v1"
        messages: list[Message] = [{"role": "system", "content": SYSTEM}]
        async with AsyncOpenAI(base_url=address, api_key="none", timeout=600) as client:
            for number in range(turns):
                messages.append({"role": "user", "content": QUESTIONS[number % len(QUESTIONS)]})
                wanted = await asyncio.to_thread(models.own_answer, messages, tokens)
                before = (*pool.traffic(), proxy.up, proxy.down)
                given: Any = {"model": served.model, "messages": messages, "temperature": 0, "max_tokens": tokens}
                stream = await client.chat.completions.create(
                    **given, stream=True, stream_options={"include_usage": True}
                )
                answer, usage = "", None
                async for chunk in stream:
                    usage = chunk.usage or usage
                    answer += "".join(choice.delta.content or "" for choice in chunk.choices)
                if usage is None or usage.prompt_tokens_details is None:
                    raise RuntimeError("the endpoint told no usage")
                after = (*pool.traffic(), proxy.up, proxy.down)
                link_up, link_down, http_up, http_down = (now - then for now, then in zip(after, before, strict=True))
                turn = Turn(
                    tokens=usage.completion_tokens,
                    prompt_tokens=usage.prompt_tokens,
                    cached_tokens=usage.prompt_tokens_details.cached_tokens or 0,
                    link_up=link_up,
                    link_down=link_down,
                    http_up=http_up,
                    http_down=http_down,
                    equal=answer == wanted,
                )
                found.append(turn)
                messages.append({"role": "assistant", "content": answer})
        await proxy.close()
    return found


def table(turns: Sequence[Turn]) -> str:
    """What is printed: a row a turn, and all of them."""
    head = ("turn", "prompt", "cached", "tokens", "link up", "link down", "HTTP up", "HTTP down", "equal")
    rows: list[tuple[str, ...]] = [head]
    for name, of in [*((str(n), [turn]) for n, turn in enumerate(turns, 1)), ("all", list(turns))]:
        written = max(1, sum(turn.tokens for turn in of))
        each = [
            f"{sum(getattr(turn, what) for turn in of) / written:.1f}"
            for what in ("link_up", "link_down", "http_up", "http_down")
        ]
        counts = [str(sum(getattr(turn, what) for turn in of)) for what in ("prompt_tokens", "cached_tokens", "tokens")]
        rows.append((name, *counts, *each, "yes" if all(turn.equal for turn in of) else "NO"))
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*lines, "link, HTTP: bytes a token of the answers"])


def settings_of(evidence: str) -> DraftSettings | None:
    """How to draft; None: a planner's choice."""
    if evidence == "auto":
        return None
    return DraftSettings(expansion=CHAIN, truncation=tw.TopK(1), evidence=evidence)


def main(arguments: Sequence[str] | None = None) -> None:
    """Hold a conversation, print the table, write JSON."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    parser.add_argument("--turns", type=whole_number(1), default=10, metavar="N", help="%(default)s")
    parser.add_argument("--tokens", type=whole_number(1), default=40, metavar="N", help="of an answer (%(default)s)")
    kinds = "a greedy target needs no more than ids; auto goes by the clock of a loopback (%(default)s)"
    parser.add_argument("--evidence", choices=["match", "list", "auto"], default="match", help=kinds)
    own = "of the conversation (the draft model's, or a plain one)"
    parser.add_argument("--chat-template", type=input_file, metavar="FILE", help=own)
    parser.add_argument("--json", type=output_file, metavar="FILE", help="to write")
    args = parser.parse_args(arguments)
    require_models(args.target, args.draft)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    models = Models(args.target, args.draft, args.chat_template)
    settings = settings_of(args.evidence)
    turns = asyncio.run(converse(models, turns=args.turns, tokens=args.tokens, settings=settings))
    print(table(turns))
    if args.json:
        write_json({"evidence": args.evidence, "turns": [asdict(turn) for turn in turns]}, args.json)
    if not all(turn.equal for turn in turns):
        raise SystemExit("an answer is not the target's own")


if __name__ == "__main__":
    main(sys.argv[1:])
