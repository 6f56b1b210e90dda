"""Write a Llama model of transformers' format as a GGUF file, for llama.cpp; torch is not needed.

tslt convert examples/pair/draft draft.gguf
tslt device --model draft.gguf

Takes folders of the Llama architecture with a byte-level BPE tokenizer like GPT-2's (the default pair has them), and
refuses others: llama.cpp's own convert_hf_to_gguf.py knows those.  Token ids and texts stay, so that the file fits an
edge or a device that runs the folder itself.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tslt_runtime.commands.running import run_command
from tslt_runtime.engines.llamacpp.sampling_keys import KEYS
from tslt_runtime.engines.protocol import EngineError
from tslt_runtime.engines.transformers.generation_config import read_settings

Tensor = NDArray[Any]

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
"""Tensors outside the layers, theirs -> GGUF's."""
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Tensors of a layer, without ``model.layers.N.`` and ``.weight``."""
GPT2_SPLIT = "gpt-2"
"""How the text is cut before BPE, by GGUF's name."""
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def convert(folder: Path, out: Path, *, dtype: str = "float16") -> tuple[str, ...]:
    """Write the model in ``folder`` to ``out``; ``dtype`` of the matrices: "float16" or "float32".

    Returns what its ``generation_config.json`` says of sampling and the file does not, a sentence each.
    Raises EngineError for a model or a tokenizer that it does not know, OSError for files that are missing.
    """
    import gguf

    config = _read_json(folder / "config.json")
    tokenizer = _read_json(folder / "tokenizer.json")
    heads = _require_llama(config)
    _require_byte_level(tokenizer)
    writer: Any = gguf.GGUFWriter(None, "llama")  # its methods are typed loosely
    _add_config(writer, config, folder)
    left = _add_sampling(writer, folder)
    _add_tokenizer(writer, tokenizer, config, bos=_starts_with_bos(tokenizer, config.get("bos_token_id")))
    if template := _chat_template(folder):
        writer.add_chat_template(template)
    kind = gguf.LlamaFileType.MOSTLY_F16 if dtype == "float16" else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(kind)
    blocks = set()
    for name, tensor in _tensors(folder):
        theirs = _renamed(name, folder)
        blocks |= {int(number) for number in re.findall(r"^blk\.(\d+)\.", theirs)}
        _require_shape(theirs, tensor, config)
        part = theirs.removesuffix(".weight").rpartition(".")[2]
        values = interleaved(tensor, heads[part]) if part in heads else tensor
        # Norms stay in float32, as llama.cpp wants them.
        writer.add_tensor(theirs, np.ascontiguousarray(values, np.dtype(dtype) if values.ndim > 1 else np.float32))
    if blocks != set(range(int(config["num_hidden_layers"]))):
        raise EngineError(
            f"{folder} has weights of {len(blocks)} layers, its config.json says {config['num_hidden_layers']}"
        )
    writer.write_header_to_file(out)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return left


def _require_shape(name: str, tensor: Tensor, config: dict[str, Any]) -> None:
    if name == "token_embd.weight" and tensor.shape != (config["vocab_size"], config["hidden_size"]):
        raise EngineError(f"embeddings of shape {tensor.shape}; config.json says otherwise")


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key matrix in GGUF's order: RoPE turns neighbours, where transformers turns halves."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EngineError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise EngineError(f"{path} holds no JSON object")
    return document


def _require_llama(config: dict[str, Any]) -> dict[str, int]:
    """Heads of queries and of keys, by GGUF's name."""
    wanted = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    found = {key: config.get(key, value) for key, value in wanted.items()}
    # "rope_scaling" is what older versions of transformers wrote.
    rope = {"rope_type": "default"} | (config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.pop("rope_theta", None)
    if found != wanted or rope != {"rope_type": "default"}:
        raise EngineError(f"a model with {found | rope} is not converted here: take llama.cpp's convert_hf_to_gguf.py")
    heads = int(config["num_attention_heads"])
    return {"attn_q": heads, "attn_k": int(config.get("num_key_value_heads") or heads)}


def _require_byte_level(tokenizer: dict[str, Any]) -> None:
    before, model = tokenizer.get("pre_tokenizer") or {}, tokenizer.get("model") or {}
    known = {key: before.get(key) for key in BYTE_LEVEL} == BYTE_LEVEL and model.get("type") == "BPE"
    if not known or tokenizer.get("normalizer") or model.get("byte_fallback") or model.get("ignore_merges"):
        raise EngineError("a tokenizer that is not GPT-2's kind of BPE: take llama.cpp's convert_hf_to_gguf.py")


def _starts_with_bos(tokenizer: dict[str, Any], bos: Any) -> bool:
    processor = tokenizer.get("post_processor") or {}
    special = [part["SpecialToken"]["id"] for part in processor.get("single", ()) if "SpecialToken" in part]
    ids = [token for name in special for token in processor["special_tokens"][name]["ids"]]
    if ids not in ([], [bos]):
        raise EngineError(f"a tokenizer that puts {special} around a text: only a token that begins it is known here")
    return bool(ids)


def _add_config(writer: Any, config: dict[str, Any], folder: Path) -> None:
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or hidden // heads)
    rope = config.get("rope_parameters") or config
    writer.add_name(folder.resolve().name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(hidden)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_sampling(writer: Any, folder: Path) -> tuple[str, ...]:
    """Write the sampling settings; returns what is left behind."""
    path = folder / "generation_config.json"
    own = read_settings(_read_json(path) if path.is_file() else {})
    left = list(own.not_applied)
    for name, value in own.sampling.in_force().items():
        if name in KEYS:
            getattr(writer, f"add_sampling_{KEYS[name]}")(value)
        else:
            left.append(f"generation_config: {name} is left behind: GGUF has no key for it")
    if own.sampling.repetition_penalty != 1:
        writer.add_sampling_penalty_last_n(-1)
    return tuple(left)


def _add_tokenizer(writer: Any, tokenizer: dict[str, Any], config: dict[str, Any], *, bos: bool) -> None:
    import gguf

    special = {added["id"]: bool(added["special"]) for added in tokenizer["added_tokens"]}
    texts = {token: text for text, token in tokenizer["model"]["vocab"].items()}
    texts |= {added["id"]: added["content"] for added in tokenizer["added_tokens"]}
    size = int(config["vocab_size"])
    if max(texts) >= size:
        raise EngineError(f"the tokenizer has id {max(texts)}, but the model's vocabulary size is {size}")

    def kind(token: int) -> int:
        if token in special:
            return int(gguf.TokenType.CONTROL if special[token] else gguf.TokenType.USER_DEFINED)
        return int(gguf.TokenType.NORMAL if token in texts else gguf.TokenType.UNUSED)

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(GPT2_SPLIT)
    # Logits without a token need a text of their own: the vocabulary's fingerprint leaves them out.
    writer.add_token_list([texts.get(token, f"[unused {token}]") for token in range(size)])
    writer.add_token_types([kind(token) for token in range(size)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    if config.get("bos_token_id") is not None:
        writer.add_bos_token_id(config["bos_token_id"])
    writer.add_add_bos_token(bos)
    ends = config.get("eos_token_id")
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    adders = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    if len(ends) > len(adders):
        raise EngineError(f"{len(ends)} tokens that end a text, of which GGUF can name {len(adders)}")
    for add, token in zip(adders, ends, strict=False):
        add(token)


def _chat_template(folder: Path) -> str | None:
    """The template of a folder, in its own file or, as older versions of transformers wrote it, in the tokenizer's."""
    file, settings = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = _read_json(settings).get("chat_template") if settings.is_file() else None
    if isinstance(found, list):  # several, by name
        found = {one["name"]: one["template"] for one in found}.get("default")
    return found if isinstance(found, str) else None


def _renamed(name: str, folder: Path) -> str:
    if name in NAMES:
        return NAMES[name]
    parts = name.removesuffix(".weight").split(".", 3)
    if name.endswith(".weight") and parts[:2] == ["model", "layers"] and parts[-1] in LAYER_NAMES:
        return f"blk.{int(parts[2])}.{LAYER_NAMES[parts[3]]}.weight"
    raise EngineError(f"{folder} has a tensor {name}, which no Llama has")


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """(name, values) of the ``.safetensors`` files in ``folder``; bfloat16, which numpy lacks, as float32."""
    from safetensors import SafetensorError, deserialize

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise EngineError(f"no weights in {folder}: there is no .safetensors file")
    for path in files:
        try:
            entries = deserialize(path.read_bytes())
        except SafetensorError as error:
            raise EngineError(f"{path} is damaged, cut short perhaps: {error}") from error
        for name, entry in entries:
            yield name, _values(name, entry)


def _values(name: str, entry: dict[str, Any]) -> Tensor:
    kinds = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    if entry["dtype"] not in kinds:
        raise EngineError(f"{name} holds {entry['dtype']}, not one of {sorted(kinds)}")
    values: Tensor = np.frombuffer(entry["data"], kinds[entry["dtype"]]).reshape(entry["shape"])
    # The upper half of a float32's bits, nothing else.
    return (values.astype("<u4") << 16).view("<f4") if entry["dtype"] == "BF16" else values


def parse(argv: list[str] | None = None, *, prog: str = "tslt convert") -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="FOLDER", help="with config.json, tokenizer.json and .safetensors")
    parser.add_argument("out", type=Path, metavar="FILE.gguf", help="to write")
    parser.add_argument("--dtype", default="float16", choices=["float16", "float32"], help="of matrices (%(default)s)")
    args = parser.parse_args(argv)
    if not (args.model / "config.json").is_file():
        parser.error(f"{args.model} is no folder of a model: there is no config.json")
    if not args.out.resolve().parent.is_dir():
        parser.error(f"there is no folder {args.out.resolve().parent}")
    return args


def main(argv: list[str] | None = None, *, prog: str = "tslt convert") -> int:
    """Entry point; returns the exit status."""
    args = parse(argv, prog=prog)

    def work() -> None:
        try:
            for line in convert(args.model, args.out, dtype=args.dtype):
                print(f"convert: {line}", file=sys.stderr)
        except KeyError as error:
            raise EngineError(f"{args.model} lacks {error} in its config.json or tokenizer.json") from error
        print(f"{args.out}: {args.out.stat().st_size} bytes")

    return run_command("convert", work)


if __name__ == "__main__":
    sys.exit(main())
