"""Operators whose results are constants, since shapes and settings are fixed."""

from __future__ import annotations

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator
from tvm import relax

from edgeconv.compiler.importer.converter import Arguments, Converter
from edgeconv.compiler.importer.node import Node


def _evaluate(builder: relax.BlockBuilder, node: Node, arguments: Arguments) -> relax.Expr:
    """Compute the result by the standard's own reference."""
    names = [name for name in node.inputs if name]
    values = {
        name: node.constants[name]
        if name in node.constants
        else np.zeros(node.shapes[name], node.dtypes[name])
        for name in names
    }
    proto = helper.make_node(node.op, names, node.outputs, **node.attributes)
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in values.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in node.outputs]
    opset = helper.make_opsetid("", node.opset)
    model = helper.make_model(
        helper.make_graph([proto], "constant", infos, results), opset_imports=[opset]
    )
    (result,) = ReferenceEvaluator(model).run(None, values)
    array = np.array(result, order="C")
    return relax.const(array, str(array.dtype))


CONVERTERS = {
    "ConstantOfShape": Converter(_evaluate, constants=(0,)),
    # Of its input, only the shape and the type count.
    "EyeLike": Converter(_evaluate),
    "Range": Converter(_evaluate, constants=(0, 1, 2)),
    "Shape": Converter(_evaluate),
    "Size": Converter(_evaluate),
}
