"""Prompts in the forms that people have them in, and what is said of a file that is none."""

from __future__ import annotations

import json

import pytest
from tslt_benchmarks.prompts import PromptError, read_prompts, some_of

FORMS = {
    "prompt": ({"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f"}, "def f():\n"),
    "text": ({"text": "One."}, "One."),
    "question": ({"question": "Who?", "answer": "I."}, "Who?"),
    "turns": ({"question_id": 81, "category": "writing", "turns": ["First.", "Second."]}, "First."),
    "messages": (
        {
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": [{"type": "text", "text": "Who"}, {"type": "text", "text": "?"}]},
                {"role": "assistant", "content": "I."},
            ]
        },
        "Be short.\n\nWho?",
    ),
    "string": ("Plain.", "Plain."),
}


@pytest.mark.parametrize(("value", "wanted"), FORMS.values(), ids=FORMS)
def test_lines_of_json(value, wanted, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f"{json.dumps(value)}\n\n{json.dumps(value)}\n", encoding="utf-8")
    assert read_prompts(path) == [wanted, wanted]


def test_json_is_known_by_what_it_begins_with(tmp_path):
    path = tmp_path / "question"
    path.write_text('\ufeff{"turns": ["A\u00fc"]}\n', encoding="utf-8")
    assert read_prompts(path) == ["A\u00fc"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("# about\n\nOne.\n# not this\n\n Two. \n", ["One.", "Two."]),
        (
            "# about\nOne,\nand more.\n\n# a heading\nTwo.\n\n\nThree.",
            ["One,\nand more.", "# a heading\nTwo.", "Three."],
        ),
        ("One.\nTwo.", ["One.", "Two."]),
    ],
)
def test_text(text, wanted, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text(text, encoding="utf-8")
    assert read_prompts(path) == wanted


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a"', r"line 2: expected one JSON object, got '\{\"prompt\": \"a\"'"),
        ("[1]", r"line 2: expected an object or a string, got '\[1\]'"),
        ('{"id": 1}', "line 2: expected one of prompt, text, question, turns, messages, got id"),
        ('{"prompt": 3}', "line 2: prompt: expected a text, got '3'"),
        ('{"text": " "}', "line 2: text: expected a text, got ' '"),
        ('{"turns": []}', "line 2: turns: expected a list of texts, got"),
        ('{"turns": "a"}', "line 2: turns: expected a list of texts, got 'a'"),
        ('{"messages": {}}', "line 2: messages: expected a list of messages, got"),
        ('{"messages": [{"content": "a"}]}', "line 2: messages: expected objects with role and content"),
        ('{"messages": [{"role": "user", "content": 3}]}', "line 2: messages: expected a message's content as a text"),
        ('{"messages": [{"role": "system", "content": "a"}]}', "line 2: messages: expected a message of a user"),
    ],
)
def test_what_is_wrong_with_a_line(line, said, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "fine"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(PromptError, match=said):
        read_prompts(path)


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "empty file"), (b"# nothing\n", "empty file"), (b"\xff", "got byte 0xff")]
)
def test_what_is_no_file_of_prompts(data, said, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes(data)
    with pytest.raises(PromptError, match=said):
        read_prompts(path)


def test_some_of_many_are_from_all_over_the_file():
    assert some_of(list("abcdefgh"), 4) == ["a", "c", "e", "g"]
    assert some_of(["a"], 4) == ["a"]
