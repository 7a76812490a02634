"""Operators spelled out by the standard's own definition of them.

The schema of many ONNX operators holds a body of simpler operators, which says what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
from onnx import defs, helper, inliner, shape_inference

from edgeconv.errors import UnsupportedModelError

Wanted = Callable[[onnx.NodeProto], bool]


def spell_out(model: onnx.ModelProto, wanted: Wanted) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Replace every operator that is `wanted` spelled out and has a body by its body.

    Args:
        model: a checked model; stays as it is.
        wanted: which nodes to replace; all of one operator go together.

    Returns:
        A model in which every node has a name and no shape of a new value is inferred yet, and by
        the name of each new node the name of the node that it was part of.

    Raises:
        UnsupportedModelError: the model's nodes do not fit the standard's definition of them.
    """
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for number, node in enumerate(plain.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    owners: dict[str, str] = {}
    while selected := _with_body(plain, wanted):
        outer = list(plain.graph.node)
        fill_defaults(plain)
        # Some bodies depend on the types of the inputs; the inliner looks up constants there too.
        plain.graph.value_info.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            for tensor in plain.graph.initializer
        )
        try:
            plain = shape_inference.infer_shapes(plain, data_prop=True)
            # It looks up inputs that are left out as well.
            plain.graph.value_info.append(onnx.ValueInfoProto(name="", type=onnx.TypeProto()))
            plain = inliner.inline_selected_functions(plain, selected, inline_schema_functions=True)
        except Exception as error:
            # The C++ library raises exceptions without a common class.
            operators = ", ".join(op for _, op in selected)
            raise UnsupportedModelError(f"{operators} cannot be spelled out: {error}") from error
        for name, owner in _name(plain, outer).items():
            owners[name] = owners.get(owner, owner)
    return plain, owners


def _with_body(model: onnx.ModelProto, wanted: Wanted) -> list[tuple[str, str]]:
    """Return (domain, name) of the operators to be replaced."""
    versions = {opset.domain: opset.version for opset in model.opset_import}
    operators = {(node.domain, node.op_type) for node in model.graph.node if wanted(node)}
    return sorted(
        (domain, op) for domain, op in operators if _has_body(op, domain, versions.get(domain, 1))
    )


def _has_body(op: str, domain: str, version: int) -> bool:
    try:
        schema = defs.get_schema(op, version, domain)
    except defs.SchemaError:
        return False
    # The attributes exist, but not in the package's types.
    kinds = ("has_function", "has_context_dependent_function")
    return any(getattr(schema, kind) for kind in kinds)


def fill_defaults(model: onnx.ModelProto) -> None:
    """Add attributes that were left out to operators with a body, which lacks their defaults.

    Also to BatchNormalization, which the optimiser folds with an epsilon in double precision.
    """
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for node in model.graph.node:
        version = versions.get(node.domain, 1)
        folds = node.op_type == "BatchNormalization" and not node.domain
        if not folds and not _has_body(node.op_type, node.domain, version):
            continue
        given = {attribute.name for attribute in node.attribute}
        schema = defs.get_schema(node.op_type, version, node.domain)
        for name, attribute in schema.attributes.items():
            if name not in given and attribute.default_value.type:
                node.attribute.append(attribute.default_value)


def _name(model: onnx.ModelProto, outer: list[onnx.NodeProto]) -> Mapping[str, str]:
    """Name the nodes that have no name yet; return the node of `outer` that each was part of."""
    owners = {}
    replaced = iter([node for node in outer if node.name not in {n.name for n in model.graph.node}])
    owner, missing = None, set[str]()
    for number, node in enumerate(model.graph.node):
        if node.name:
            continue
        if not missing:
            owner = next(replaced)
            missing = {name for name in owner.output if name}
        assert owner is not None
        node.name = f"{owner.name}.{number}.{node.op_type.lower()}"
        owners[node.name] = owner.name
        missing -= set(node.output)
    return owners
