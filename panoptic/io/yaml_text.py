"""Refusal of YAML texts whose few bytes stand for far more.

Aliases can multiply (nine levels of nine are 387 million values in 500 bytes), brackets can be nested beyond any stack,
and a tag can ask for a type that its text does not have. All are found in the stream of YAML's events, which takes
neither memory nor recursion, before anything is constructed. Flows read settings too, so this imports nothing of ours.
"""

import yaml

LONGEST = 1 << 20
LARGEST_NODES = 20_000
DEEPEST = 64


class UnboundedYamlError(ValueError):
    """A YAML text that is larger than any file of settings, or asks for types."""


def require_plain_yaml(text: str, where: str) -> None:
    """Check that a YAML text has a bounded number of nodes, also once its aliases are replaced, and a bounded depth.

    Raises:
        UnboundedYamlError: it does not, or has a tag such as `!!bool`.
        yaml.YAMLError: it is not valid YAML.
    """
    if len(text) > LONGEST:
        raise UnboundedYamlError(f"{where}: has more than {LONGEST} characters; write a shorter file")
    total, open_nodes, sizes = 0, list[tuple[str | None, int]](), dict[str, int]()
    for event in yaml.parse(text, yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: total - before} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise UnboundedYamlError(
                    f"{where}: the alias *{event.anchor} in line {line} stands for nothing before it, or for what it is"
                    " part of; write the value itself"
                )
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            if event.tag is not None:
                raise UnboundedYamlError(f"{where}: line {line} has the tag {event.tag}; write the value without it")
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((event.anchor, total - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        if total > LARGEST_NODES or len(open_nodes) > DEEPEST:
            raise UnboundedYamlError(
                f"{where}: up to line {line} there are {total} values, {len(open_nodes)} levels deep, with aliases "
                f"written out; expected at most {LARGEST_NODES} and {DEEPEST}; write a shorter file"
            )
