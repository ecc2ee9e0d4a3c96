"""How callers describe a flow: trees of `FlowJob`, graphs of `DagNode`; and the checks of a graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CycleError, FlowDefinitionError
from ..job import Job
from ..options.job import JobOptions


@dataclass(frozen=True)
class FlowJob:
    """A job of a tree; it waits for its `children`, which may be in other queues and have children themselves."""

    name: str
    queue: str
    data: Any = None
    options: JobOptions | None = None
    children: Sequence[FlowJob] = ()


@dataclass(frozen=True)
class DagNode:
    """A job of a graph; `deps` are the names of the nodes that must complete first."""

    name: str
    queue: str
    data: Any = None
    options: JobOptions | None = None
    deps: Sequence[str] = ()


@dataclass(frozen=True)
class JobNode:
    """A created job of a tree with its children in the order they were given; None for a job without any."""

    job: Job[Any, Any]
    children: tuple[JobNode, ...] | None = None


def definition_error(
    message: str, node: str, option: str = "nodes", value: Any = None
) -> FlowDefinitionError:
    """Build the error for a flow that cannot be created."""
    return FlowDefinitionError(message, option=option, value=value, allowed="a sound flow", node=node)


def cycle_error(kind: str, cycle: list[str]) -> CycleError:
    """Build the error for a flow that would wait for itself; first and last of `cycle` are the same."""
    return CycleError(
        f"{kind} contains a cycle: {' -> '.join(cycle)}",
        option="nodes",
        value=cycle,
        allowed="no cycle",
        node=cycle[0],
        cycle=cycle,
    )


def validate_dag(nodes: Iterable[DagNode]) -> None:
    """Check that names are unique, dependencies exist and no node waits for itself.

    Raises:
        FlowDefinitionError, CycleError.
    """
    topo_sort(nodes)


def topo_sort(nodes: Iterable[DagNode]) -> list[DagNode]:
    """Return the nodes with prerequisites before dependents, ties in the order given.

    Raises:
        FlowDefinitionError, CycleError.
    """
    given = list(nodes)
    by_name = _checked_names(given)
    dependents = dependents_of(given)
    missing = {node.name: len(node.deps) for node in given}
    ready = deque(node for node in given if not node.deps)
    order: list[DagNode] = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for dependent in dependents[node.name]:
            missing[dependent] -= 1
            if not missing[dependent]:
                ready.append(by_name[dependent])
    if len(order) < len(given):
        sorted_names = {node.name for node in order}
        raise cycle_error("DAG", _cycle([n.name for n in given if n.name not in sorted_names], dependents))
    return order


def dependents_of(nodes: Sequence[DagNode]) -> dict[str, list[str]]:
    """Return the dependents of each node, in the order given; a name given twice counts twice."""
    dependents: dict[str, list[str]] = {node.name: [] for node in nodes}
    for node in nodes:
        for dep in node.deps:
            dependents[dep].append(node.name)
    return dependents


def levels_of(order: Sequence[DagNode]) -> dict[str, int]:
    """Return the level of each node of a sorted graph: 0 without dependencies, else above the highest of them."""
    levels: dict[str, int] = {}
    for node in order:
        levels[node.name] = 1 + max((levels[dep] for dep in node.deps), default=-1)
    return levels


def _checked_names(nodes: Sequence[DagNode]) -> dict[str, DagNode]:
    by_name: dict[str, DagNode] = {}
    for node in nodes:
        if not isinstance(node, DagNode):
            raise definition_error(f"a DAG is made of DagNode, not {type(node).__name__}", "", value=node)
        if isinstance(node.deps, (str, bytes)):
            raise definition_error(f'deps of node "{node.name}" must be a list of names', node.name, "deps")
        if node.name in by_name:
            raise definition_error(f"Duplicate node name: {node.name}", node.name, "name", node.name)
        by_name[node.name] = node
    for node in nodes:
        for dep in node.deps:
            if dep not in by_name:
                message = f'Node "{node.name}" depends on unknown node "{dep}"'
                raise definition_error(message, node.name, "deps", dep)
            if dep == node.name:
                raise cycle_error("DAG", [dep, dep])
    return by_name


def _cycle(unsorted: Sequence[str], dependents: Mapping[str, Sequence[str]]) -> list[str]:
    """Find a closed path along "is needed by", depth first from the first node that could not be sorted."""
    inside, done = set(unsorted), set[str]()
    for start in unsorted:
        path, place = [start], {start: 0}
        branches = [iter(dependents[start])]
        while branches and start not in done:
            for name in branches[-1]:
                if name in place:
                    return [*path[place[name] :], name]
                if name in inside and name not in done:
                    place[name] = len(path)
                    path.append(name)
                    branches.append(iter(dependents[name]))
                    break
            else:
                branches.pop()
                done.add(path[-1])
                del place[path.pop()]
    raise AssertionError("what cannot be sorted has a cycle")
