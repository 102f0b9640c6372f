"""YAML that means the same as JSON, for what people write and machines must not misread."""

from __future__ import annotations

from typing import Any

import yaml


class PlainYamlError(ValueError):
    """The document is not YAML, or says something that JSON cannot."""


def load(document: bytes) -> object:
    """Return what the document says, of the types that JSON has. Raises PlainYamlError.

    Dates stay text, as they do for OPA. A key that stands twice is refused, and so are aliases: a
    few lines of them can stand for more memory than there is.
    """
    try:
        return yaml.load(document, Loader=_PlainLoader)  # noqa: S506  # a SafeLoader, made stricter
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise PlainYamlError(str(error)) from error


class _PlainLoader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own name, read by its resolver
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # PyYAML's signature
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.YAMLError(f"a key stands twice in the mapping at {node.start_mark}")
        return mapping
