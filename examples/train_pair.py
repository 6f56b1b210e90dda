"""Train the default pair: a 32,000-token tokenizer, a Llama target, and a draft distilled from it.

Everything in ``examples/pair`` came out of this script (see ``examples/pair/MODEL_CARD.md`` for the data, the figures
and the exact command).  It runs on the CPU, in float32: two cores need about two hours.

    python -m examples.train_pair --text DIR --out examples/pair

``DIR`` holds plain UTF-8 ``*.txt`` (or ``*.txt.xz``) files, paragraphs separated by a blank line.  The last 2 % of each
file are held out and never trained on.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS = "<s>", "</s>"
HELD_OUT = 0.02


@dataclass(frozen=True, slots=True)
class Recipe:
    """Shape and schedule of one training run; written into the model card."""

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    steps: int
    batch: int = 16
    sequence: int = 256
    lr_matrices: float = 3e-3
    lr_other: float = 3e-3
    warmup: int = 60
    cooldown: float = 0.4
    seed: int = 1


TARGET = Recipe(hidden_size=256, layers=8, heads=4, intermediate_size=704, steps=1700)
DRAFT = Recipe(hidden_size=128, layers=2, heads=2, intermediate_size=352, steps=900, cooldown=0.5)


# ---------------------------------------------------------------------------------------------------------------- text


def read_texts(folder: Path) -> dict[str, str]:
    """Return ``{stem: text}`` of every ``*.txt`` and ``*.txt.xz`` in ``folder``."""
    texts: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(".txt.xz"):
            texts[path.name[:-7]] = lzma.decompress(path.read_bytes()).decode()
        elif path.suffix == ".txt":
            texts[path.stem] = path.read_text(encoding="utf-8")
    if not texts:
        raise SystemExit(f"no *.txt or *.txt.xz files in {folder}")
    return texts


def split(texts: dict[str, str]) -> tuple[str, str]:
    """Return (training text, held-out text): the last 2 % of each file, cut at a paragraph, are held out."""
    train, held = [], []
    for text in texts.values():
        cut = text.rfind("\n\n", 0, int(len(text) * (1 - HELD_OUT)))
        train.append(text[:cut])
        held.append(text[cut:].lstrip("\n"))
    return "\n\n".join(train), "\n\n".join(held)


def documents(text: str) -> Iterator[str]:
    """Yield chapters: a chapter is what a reader would call one text, so the model learns where a text ends."""
    for chapter in re.split(r"\n\n(?=(?:CHAPTER|Chapter|BOOK|PART)\b)", text):
        if chapter.strip():
            yield chapter.strip()


def train_tokenizer(text: str, vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; ids are in merge order, ``<s>`` is 0 and ``</s>`` is 1."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(text), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Token ids of all documents, each as ``<s> ... </s>``; uint16 (N,)."""
    backend, eos = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    ids: list[int] = []
    for encoding in backend.encode_batch(list(documents(text))):
        ids += [*encoding.ids, eos]
    return np.array(ids, dtype=np.uint16)


def batches(ids: np.ndarray[Any, Any], recipe: Recipe) -> Iterator[torch.Tensor]:
    """Yield int64 (batch, sequence + 1) windows, each epoch in a fresh order and with a fresh offset."""
    rng = np.random.default_rng(recipe.seed)
    while True:
        offset = int(rng.integers(recipe.sequence))
        starts = np.arange(offset, len(ids) - recipe.sequence - 1, recipe.sequence)
        rng.shuffle(starts)
        for i in range(0, len(starts) - recipe.batch + 1, recipe.batch):
            rows = [ids[s : s + recipe.sequence + 1] for s in starts[i : i + recipe.batch]]
            yield torch.from_numpy(np.stack(rows).astype(np.int64))


# -------------------------------------------------------------------------------------------------------------- models


def new_model(recipe: Recipe, vocab_size: int) -> LlamaForCausalLM:
    """A Llama with tied embeddings, initialised from ``recipe.seed``."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        intermediate_size=recipe.intermediate_size,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config)


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    other = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(
            matrices, lr=recipe.lr_matrices, weight_decay=0.05, ns_steps=4, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(other, lr=recipe.lr_other, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(step: int, recipe: Recipe) -> float:
    """Warm up, stay, then cool down linearly to zero."""
    flat_until = recipe.steps * (1 - recipe.cooldown)
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    return min(1.0, (recipe.steps - step) / (recipe.steps - flat_until))


class ChunkedHead(torch.autograd.Function):
    """Mean loss of ``hidden @ weight.T + bias`` in chunks, gradients on the way: no (N, V) array outlives its chunk.

    ``targets`` is int64 (N,) for cross entropy, or a callable chunk slice -> teacher probabilities (n, V) for a
    distillation loss ``mix * TV + (1 - mix) * KL(teacher || student)``.
    """

    @staticmethod
    def forward(  # noqa: D102
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: Any, mix: float
    ) -> torch.Tensor:
        d_h, d_w = torch.empty_like(hidden), torch.zeros_like(weight)
        loss, chunk = torch.zeros(()), 512
        for a in range(0, len(hidden), chunk):
            part = slice(a, min(a + chunk, len(hidden)))
            q = torch.softmax(torch.addmm(bias, hidden[part], weight.T), -1)
            if callable(targets):
                p = targets(part)
                grad = q - p
                if mix:
                    loss += mix * 0.5 * grad.abs().sum()
                    sign = torch.sign(grad)
                    inner = torch.linalg.vecdot(sign, q)[:, None]
                    grad = grad.mul_(1 - mix).addcmul_(q, sign.sub_(inner), value=mix * 0.5)
                else:
                    loss -= (p * q.clamp_min(1e-30).log()).sum()
            else:
                y = targets[part]
                loss -= q.gather(1, y[:, None]).log().sum()
                grad = q
                grad[torch.arange(len(y)), y] -= 1
            d_h[part] = grad @ weight
            d_w.addmm_(grad.T, hidden[part])
        ctx.save_for_backward(d_h, d_w)
        ctx.count = len(hidden)
        return loss / len(hidden)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:  # noqa: D102
        d_h, d_w = ctx.saved_tensors
        return d_h * (grad / ctx.count), d_w * (grad / ctx.count), None, None, None


def sampled_rows(
    targets: torch.Tensor, vocab_size: int, count: int, always: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows of the head for one batch: those that occur, the ``always`` lowest ids, ``count`` others at random.

    Returns (row ids, log-weights that make the random rows stand for all the others, targets as positions in the rows).
    A softmax over 4,000 rows costs a sixth of one over 32,000; the cooldown uses all of them.
    """
    absent = torch.ones(vocab_size, dtype=torch.bool)
    absent[targets] = False
    absent[:always] = False
    present, others = (~absent).nonzero()[:, 0], absent.nonzero()[:, 0]
    drawn = others[torch.randperm(len(others))[:count]]
    bias = torch.zeros(len(present) + len(drawn))
    bias[len(present) :] = math.log(max(1, len(others)) / max(1, len(drawn)))
    return torch.cat([present, drawn]), bias, torch.searchsorted(present, targets)


def hidden_states(body: Any, ids: torch.Tensor) -> torch.Tensor:
    """Final hidden states of a Llama without its head, float32 (batch * sequence, hidden)."""
    return body(ids, use_cache=False).last_hidden_state.flatten(0, 1)


def project_embedding(target: LlamaForCausalLM, draft: LlamaForCausalLM) -> None:
    """Start the draft's embedding at the leading singular vectors of the target's."""
    weight = target.model.embed_tokens.weight.detach()
    _, _, basis = torch.linalg.svd(weight - weight.mean(0), full_matrices=False)
    rows = weight @ basis[: draft.config.hidden_size].T
    draft.model.embed_tokens.weight.data.copy_(rows * (weight.norm(dim=1).mean() / rows.norm(dim=1).mean()))


def train(
    model: LlamaForCausalLM,
    recipe: Recipe,
    ids: np.ndarray[Any, Any],
    name: str,
    teacher: LlamaForCausalLM | None = None,
) -> None:
    """Train ``model`` in place on ``ids``; with a ``teacher``, distil from its next-token distributions."""
    opts = optimizers(model, recipe)
    base = [group["lr"] for opt in opts for group in opt.param_groups]
    stream = batches(ids, recipe)
    body = torch.compile(model.model)  # fuses the elementwise work: a quarter off the step time on two cores
    teaching = torch.compile(teacher.model) if teacher is not None else None
    started, shown = time.perf_counter(), 0.0
    model.train()
    for step in range(recipe.steps):
        scale = schedule(step, recipe)
        for group, lr in zip((g for opt in opts for g in opt.param_groups), base, strict=True):
            group["lr"] = lr * scale
        window = next(stream)
        targets: Any = window[:, 1:].flatten()
        weight, bias = model.lm_head.weight, torch.zeros(model.config.vocab_size)
        head = teacher.lm_head.weight.detach() if teacher is not None else None
        sampled = step < recipe.steps * (1 - recipe.cooldown)
        if sampled:
            rows, bias, targets = sampled_rows(targets, model.config.vocab_size, 2500, always=2000 if teacher else 0)
            weight, head = F.embedding(rows, weight), head[rows] if head is not None else None
        if head is not None:
            with torch.no_grad():
                taught = hidden_states(teaching, window[:, :-1])

            def targets(
                part: slice, taught: torch.Tensor = taught, head: torch.Tensor = head, bias: torch.Tensor = bias
            ) -> torch.Tensor:
                return torch.softmax(torch.addmm(bias, taught[part], head.T), -1)

        # KL first, because its gradient is never flat; then what acceptance really is, 1 - TV.
        mix = 0.9 if teacher is not None and not sampled else 0.0
        loss = ChunkedHead.apply(hidden_states(body, window[:, :-1]), weight, bias, targets, mix)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        shown = float(loss.detach()) if not step else 0.95 * shown + 0.05 * float(loss.detach())
        if step % 20 == 0 or step == recipe.steps - 1:
            rate = (step + 1) * recipe.batch * recipe.sequence / (time.perf_counter() - started)
            print(f"{name} step {step}/{recipe.steps} loss {shown:.4f} {rate:.0f} tokens/s", flush=True)
    model.eval()


# ---------------------------------------------------------------------------------------------------------- evaluation


@torch.no_grad()
def evaluate(
    target: LlamaForCausalLM, draft: LlamaForCausalLM, ids: np.ndarray[Any, Any], windows: int = 64
) -> dict[str, float]:
    """Held-out loss (nats a token) of both models and the full-distribution acceptance 1 - TV by temperature."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(ids) - 257, windows)
    totals: dict[str, float] = {"target_loss": 0.0, "draft_loss": 0.0}
    for start in starts:
        window = torch.from_numpy(ids[start : start + 257].astype(np.int64))[None]
        p, q = target(window[:, :-1]).logits[0].float(), draft(window[:, :-1]).logits[0].float()
        totals["target_loss"] += F.cross_entropy(p, window[0, 1:]).item() / windows
        totals["draft_loss"] += F.cross_entropy(q, window[0, 1:]).item() / windows
        for t in (0.7, 1.0):
            overlap = torch.minimum(torch.softmax(p / t, -1), torch.softmax(q / t, -1)).sum(-1).mean().item()
            key = f"acceptance_t{t}"
            totals[key] = totals.get(key, 0.0) + overlap / windows
    totals["target_perplexity"] = math.exp(totals["target_loss"])
    return {k: round(v, 4) for k, v in totals.items()}


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write fp16 safetensors, config and tokenizer as ``from_pretrained`` expects them.

    They are float16 to be small; the configuration says float32, which is what they are run in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.float16).save_pretrained(folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Run the stages that are asked for; each reads what the one before wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of *.txt or *.txt.xz")
    parser.add_argument("--out", type=Path, required=True, help="folder for target/ and draft/")
    parser.add_argument("--stages", nargs="+", default=["target", "draft", "evaluate"])
    parser.add_argument("--target-steps", type=int, default=TARGET.steps)
    parser.add_argument("--draft-steps", type=int, default=DRAFT.steps)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    train_text, held_text = split(read_texts(args.text))
    target_recipe = Recipe(**{**asdict(TARGET), "steps": args.target_steps})
    draft_recipe = Recipe(**{**asdict(DRAFT), "steps": args.draft_steps})
    if "target" in args.stages:
        tokenizer = train_tokenizer(train_text, 32_000)
        ids = encode(tokenizer, train_text)
        print(f"{len(ids):,} training tokens", flush=True)
        target = new_model(target_recipe, len(tokenizer))
        train(target, target_recipe, ids, "target")
        save(target, tokenizer, args.out / "target")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out / "target")
    target = LlamaForCausalLM.from_pretrained(args.out / "target", dtype=torch.float32).eval()
    if "draft" in args.stages:
        draft = new_model(draft_recipe, len(tokenizer))
        project_embedding(target, draft)
        train(draft, draft_recipe, encode(tokenizer, train_text), "draft", teacher=target)
        save(draft, tokenizer, args.out / "draft")
    if "evaluate" in args.stages:
        draft = LlamaForCausalLM.from_pretrained(args.out / "draft", dtype=torch.float32).eval()
        figures: dict[str, Any] = dict(evaluate(target, draft, encode(tokenizer, held_text)))
        figures["recipes"] = {"target": asdict(target_recipe), "draft": asdict(draft_recipe)}
        (args.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
