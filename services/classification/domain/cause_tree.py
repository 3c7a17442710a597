"""The tree of causes of a finding: five whys, or Ishikawa's branches by the six components (R67, R95)."""

from collections.abc import Mapping, Sequence

from libs.events.catalogue.findings import CauseNode
from services.classification.domain.finding_orders import Refused
from services.classification.domain.rulebook import COMPONENTS

METHODS = ("five_whys", "ishikawa")
MOST = 200
"""Nodes of a tree: what a team of people can have looked into."""


def check(method: str, nodes: Sequence[CauseNode], causes: Mapping[str, object] | None = None) -> None:
    """Raise Refused where it is no tree, or names a component or cause that does not exist. `causes`: those of the rulebook."""
    if method not in METHODS:
        raise Refused("unknown_method", "/method", invalid=True)
    if not nodes:
        raise Refused("tree_empty", "/nodes", invalid=True)
    if len(nodes) > MOST:
        raise Refused("tree_too_large", "/nodes", invalid=True, values={"most": str(MOST)})
    parents: dict[str, str | None] = {}
    for place, node in enumerate(nodes):
        if node.node_id in parents:
            raise _wrong("tree_twice", place, node, "node_id")
        parents[node.node_id] = node.parent
    for place, node in enumerate(nodes):
        if node.parent is not None and node.parent not in parents:
            raise _wrong("tree_parent", place, node, "parent", parent=node.parent)
        if node.component is not None and node.component not in COMPONENTS:
            raise _wrong("tree_component", place, node, "component")
        if method == "ishikawa" and node.parent is None and node.component is None:
            raise _wrong("tree_branch", place, node, "component")
        if node.cause is not None and causes is not None and node.cause not in causes:
            raise Refused("unknown_code", f"/nodes/{place}/cause", invalid=True, values={"code_": node.cause})
        seen: set[str] = set()
        at: str | None = node.node_id
        while at is not None:
            if at in seen:
                raise _wrong("tree_cycle", place, node, "parent")
            seen.add(at)
            at = parents.get(at)


def _wrong(code: str, place: int, node: CauseNode, name: str, **values: str) -> Refused:
    return Refused(code, f"/nodes/{place}/{name}", invalid=True, values={"node": node.node_id, **values})


def in_order(nodes: Sequence[CauseNode]) -> list[tuple[int, CauseNode]]:
    """Depth and node, each after the one it explains, children in the order they were given."""
    children: dict[str | None, list[CauseNode]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    found: list[tuple[int, CauseNode]] = []
    waiting = [(0, node) for node in reversed(children.get(None, ()))]
    while waiting:
        depth, node = waiting.pop()
        found.append((depth, node))
        waiting += [(depth + 1, child) for child in reversed(children.get(node.node_id, ()))]
    return found
