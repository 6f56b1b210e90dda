"""The default pair as models for conversations: their folders, with a chat template beside the files."""

from __future__ import annotations

from pathlib import Path

from default_pair import pair_folder

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}\nQ: {{ message.content }}\nA:{% else %}{{ message.content }}{% endif %}"
    "{% endfor %}"
)
"""Writes <s> itself, as those of most models do; an answer stands in it as it was written."""


def chat_folder(name: str, parent: Path, template: str = TEMPLATE) -> Path:
    """A folder in ``parent`` with the pair's model ``name``, "target" or "draft", and a template."""
    folder = parent / name
    folder.mkdir()
    for file in pair_folder(name).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
