"""Templates: the text that transformers makes of the same messages, no token twice, nothing that leaves the sandbox."""

from __future__ import annotations

import pytest
from byte_tokenizer import byte_level
from default_pair import pair_folder
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

import tslt_wire as tw
from tslt_runtime.chat import template as templates
from tslt_runtime.chat.messages import Conversation, messages_of
from tslt_runtime.chat.template import ChatTemplate, TemplateError, digest_of, require_the_targets, template_of
from tslt_runtime.loading import load_draft
from tslt_runtime.streaming import tokens_of
from tslt_runtime.tokenizer import tokenizer_of

TURNS = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": "  Wie geht's?\n"},
    {"role": "assistant", "content": "Gut."},
    {"role": "user", "content": 'Say "so" 🐕.'},
]
KINDS = {
    "marks": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "begins": "{{ bos_token }}{% for m in messages %}\n    {%- if loop.first and m.role == 'system' -%}\n    "
    "{% set ns = namespace(system=m.content) %}{% continue %}\n  {% endif %}\n[{{ m.role }}] {{ m.content }}"
    "{{ eos_token if m.role == 'assistant' }}{% endfor %}",
    "json": "{{ messages | tojson }} {{ messages | tojson(indent=2) }}{{ tools is none }}{{ documents }}{{ nothing }}",
    "marked": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% else %}{{ m.content }}{% break %}{% endif %}{% endfor %}",
    "day": "{{ strftime_now('%Y') }}{{ messages[-1].content }}",
}


@pytest.fixture(scope="module")
def theirs():
    """What transformers has of the pair's tokenizer."""
    return AutoTokenizer.from_pretrained(pair_folder("draft"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_and_the_tokens_are_those_of_transformers(theirs, kind):
    ours = ChatTemplate(KINDS[kind], tokenizer_of(theirs).special_tokens)
    for messages in (TURNS, TURNS[1:], TURNS[1:2]):
        given = {"chat_template": KINDS[kind], "add_generation_prompt": True}
        assert ours.text(messages) == theirs.apply_chat_template(messages, tokenize=False, **given)
        wanted = theirs.apply_chat_template(messages, tokenize=True, return_dict=True, **given)["input_ids"]
        assert ours.tokens(theirs, messages) == wanted


def test_no_text_begins_twice(theirs):
    own = tokenizer_of(theirs)
    begin = own.tokens_of("a")[0]
    for text in ("The old", "<s>The old"):
        assert tokens_of(theirs, text)[:2] == [begin, *own.tokens_of("The old", bare=True)[:1]]
    for source in ("{{ bos_token }}{{ messages[0].content }}", "<s>{{ messages[0].content }}"):
        ids = ChatTemplate(source, own.special_tokens).tokens(theirs, TURNS[1:2])
        assert ids.count(begin) == 1
    assert tokens_of(theirs, "<s>") == [begin]


def test_no_text_begins_twice_with_a_plain_tokenizer():
    plain = byte_level()
    end = plain.token_to_id("<end>")
    plain.post_processor = TemplateProcessing(single="<end> $A", special_tokens=[("<end>", end)])
    assert tokens_of(plain, "<end>a") == tokens_of(plain, "a") == [end, *tokens_of(byte_level(), "a")]
    assert tokens_of(byte_level(), "<end>a") == [end, *tokens_of(byte_level(), "a")]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{% for m in messages %}", "cannot be read"),
        ("{{ raise_exception('turns in turn, please') }}", "refuses these messages: turns in turn"),
        ("{{ ''.__class__.__mro__ }}", "refuses these messages"),
        ("{{ messages.append(1) }}", "refuses these messages"),
        ("{{ messages[0].content + 1 }}", "refuses these messages"),
        ("{{ messages[9].content }}", "refuses these messages"),
        ("{{ 1 // 0 }}", "refuses these messages"),
        ("{% for i in range(10**9) %}{% endfor %}", "refuses these messages"),
        ("", "no text of these messages"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(theirs, source, said):
    with pytest.raises(TemplateError, match=said):
        ChatTemplate(source).tokens(theirs, TURNS)


def test_a_template_makes_no_endless_text(monkeypatch):
    monkeypatch.setattr(templates, "MOST_TEXT", 1000)
    assert len(ChatTemplate("{{ 'x' * 1000 }}").text(TURNS)) == 1000
    with pytest.raises(TemplateError, match="more than 1000 characters"):
        ChatTemplate("{% for i in range(9999) %}{{ 'x' * 10 }}{% endfor %}").text(TURNS)
    with pytest.raises(TemplateError, match="bytes"):
        ChatTemplate("x" * (templates.MOST_TEMPLATE_BYTES + 1))


def test_where_a_template_comes_from(tmp_path):
    tokenizer = load_draft(pair_folder("draft")).tokenizer
    with pytest.raises(TemplateError, match="no chat template"):
        template_of(tokenizer)
    file = tmp_path / "own.jinja"
    file.write_text("{{ bos_token }}Ü", encoding="utf-8")
    found = template_of(tokenizer, file)
    assert found.text(TURNS) == "<s>Ü"
    assert found.digest == digest_of("{{ bos_token }}Ü")
    file.write_bytes(b"\xff")
    with pytest.raises(TemplateError, match="UTF-8"):
        template_of(tokenizer, file)
    several = AutoTokenizer.from_pretrained(pair_folder("draft"))
    several.chat_template = {"default": "one", "tool_use": "two"}
    assert template_of(several).text(TURNS) == "one"


def test_another_template_than_the_targets_is_refused():
    def welcome(**extra):
        return tw.Welcome(version=1, vocab_size=8, tokenizer=bytes(32), transcript=bytes(16), extra=extra)

    own = ChatTemplate("a")
    assert require_the_targets(own, welcome()) is own
    assert require_the_targets(own, welcome(chat_template=digest_of("a"))) is own
    for other in (b"", digest_of("a")[1:], "a", 1):  # of a later version, or of nobody: it says nothing
        assert require_the_targets(own, welcome(chat_template=other)) is own
    with pytest.raises(TemplateError, match="another chat template"):
        require_the_targets(own, welcome(chat_template=digest_of("b")))


@pytest.mark.parametrize(
    ("messages", "kind", "said"),
    [
        ("Hello", TypeError, "a list"),
        ({"role": "user"}, TypeError, "a list"),
        ([], ValueError, "one message"),
        (["Hello"], TypeError, r"messages\[0\]"),
        ([TURNS[0], {"role": "tool", "content": ""}], ValueError, r"messages\[1\]\.role"),
        ([{"role": "user", "content": None}], TypeError, r"messages\[0\]\.content"),
        ([{"role": "user"}], TypeError, r"messages\[0\]\.content"),
        ([{"role": "user", "content": "\ud800"}], ValueError, r"messages\[0\]\.content is no text"),
        ([{"role": "user", "content": "", "name": "me"}], ValueError, r"messages\[0\] has name"),
    ],
)
def test_messages_that_are_none_are_named(messages, kind, said):
    with pytest.raises(kind, match=said):
        messages_of(messages)


def test_a_conversation_takes_turns():
    talk = Conversation("Be kind.")
    assert [m["role"] for m in talk.ask("One?")] == ["system", "user"]
    talk.answer("")
    assert [m["content"] for m in talk.ask("Two?")] == ["Be kind.", "Two?"]
    talk.answer("Yes.")
    assert messages_of(talk.ask("Three?")) == talk.messages
    assert [m["role"] for m in talk.messages] == ["system", "user", "assistant", "user"]
    talk.reset()
    assert [m["role"] for m in talk.messages] == ["system"]
    assert Conversation().messages == []
