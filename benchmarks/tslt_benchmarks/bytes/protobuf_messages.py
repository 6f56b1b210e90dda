"""Classes of protobuf messages from their fields, without protoc: what a compiled .proto would give, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
Field = tuple[str, int, str]
"""Name, number, and type: a scalar's or a message's name, ``*`` in front of a repeated one."""


def message_classes(package: str, messages: Mapping[str, Sequence[Field]]) -> dict[str, Any]:
    """A class for each of ``messages`` (name to fields), in proto3, so that repeated numbers are packed."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            plain = kind.removeprefix("*")
            label = _FIELD.LABEL_OPTIONAL if plain == kind else _FIELD.LABEL_REPEATED
            if plain in messages:
                message.field.add(
                    name=field, number=number, type=_FIELD.TYPE_MESSAGE, type_name=f".{package}.{plain}", label=label
                )
            else:
                message.field.add(name=field, number=number, type=getattr(_FIELD, f"TYPE_{plain.upper()}"), label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}
