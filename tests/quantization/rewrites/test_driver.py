"""Phases run to a fixed point, the first rewrite that acts before all others; what was replaced is recorded."""

import pytest

from qat.quantization.ir.graph import Graph, Rewritten
from qat.quantization.rewrites.driver import rewrite, run_to_fixed_point


@pytest.fixture
def chain():
    """input -> a -> b -> a -> output, as a graph."""
    graph = Graph()
    graph.nodes = [graph.make("input", "entry", shape=(None, 2))]
    graph.inputs = list(graph.nodes)
    for op in "aba":
        graph.nodes.append(
            graph.make(op, f"{op}_layer", [graph.nodes[-1].output], shape=(None, 2), layer=f"{op}_layer")
        )
    graph.outputs = graph.nodes[-1].outputs
    return graph


def ops(graph):
    return [node.op for node in graph.nodes]


@rewrite("a")
def split_in_two(match):
    """a is c behind c."""
    return match.add("c", match.add("c", match.inputs[0]))


@rewrite("c")
def drop_second(match):
    """c of c is c."""
    return match.inputs[0] if match.inputs[0].node.op == "c" else None


@rewrite("b")
def rename(match):
    """b becomes a, in place."""
    match.node.op = "a"
    return match.output


@rewrite("a")
def rename_back(match):
    """a becomes b, in place."""
    match.node.op = "b"
    return match.output


def test_one_pass_replaces_every_node_that_matches(chain):
    assert split_in_two(chain)
    assert ops(chain) == ["input", "c", "c", "b", "c", "c"]
    assert not split_in_two(chain)


def test_what_a_rewrite_makes_is_taken_up_by_those_before_it(chain):
    run_to_fixed_point(chain, [drop_second, split_in_two, rename])
    assert ops(chain) == ["input", "c"]
    assert chain.outputs == chain.nodes[-1].outputs


def test_a_node_that_is_gone_is_not_visited_again(chain):
    @rewrite("a", "b")
    def drop_both(match):
        chain.nodes = [each for each in chain.nodes if each.op != "b"]
        return match.inputs[0]

    assert drop_both(chain)
    assert [done.layer for done in chain.rewritten] == ["a_layer", "a_layer"]


def test_each_replacement_is_recorded_with_its_layer_and_ops(chain):
    split_in_two(chain)
    rename(chain)
    assert chain.rewritten == [
        Rewritten("split_in_two", "a_layer", "a", ("c",)),
        Rewritten("split_in_two", "a_layer", "a", ("c",)),
        Rewritten("rename", "b_layer", "b", ("a",)),
    ]


def test_rewrites_that_undo_each_other_are_named(chain):
    with pytest.raises(RuntimeError, match=r"undo each other.*: rename_back, rename\. Put"):
        run_to_fixed_point(chain, [rename_back, rename])
