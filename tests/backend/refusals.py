"""Which of the ONNX standard's tests edgeconv refuses, or does not agree with, and why.

Patterns are regular expressions of whole test names, without "test_" and "_cpu". Tests of an
operator's definition by simpler ones ("_expanded") go with the operator's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """Tests that are refused for one reason.

    Attributes:
        reason: why edgeconv does not compile them.
        message: regular expression of the error.
        names: patterns, separated by white space.
    """

    reason: str
    message: str
    names: str

    @property
    def patterns(self) -> list[str]:
        """The patterns, one each."""
        return self.names.split()

    def matches(self, name: str, pattern: str | None = None) -> bool:
        """Whether a test has this reason (by one pattern, or by any)."""
        plain = name.removeprefix("test_").removesuffix("_cpu")
        patterns = self.patterns if pattern is None else [pattern]
        return any(re.fullmatch(rf"(?:{p})(_expanded(_ver\d+)?)?", plain) for p in patterns)


REFUSALS = (
    Refusal(
        "element types that NumPy lacks",
        r"bfloat16|float8|float4|int4|int2|Loop",
        r"""
        .*_bf16
        .*bfloat16.*
        cast.*(BFLOAT16|FLOAT4|FLOAT8|INT2|INT4).*
        (de)?quantizelinear_(e4m3fn.*|e5m2|float4e2m1|u?int[24])
        """,
    ),
    Refusal(
        "strings, sequences, optionals",
        r"no numeric tensor|Sequence|seq_|\bIf\b|Optional|is required but missing|Loop|no inputs",
        r"""
        (identity|split_to)_sequence.*
        ai_onnx_ml_label_encoder_(string|tensor).*
        equal_string.*
        identity_opt
        if_(opt|seq)
        loop1[36]_seq.*
        optional_.*
        regex_full_match_.*
        sequence_(insert|map|model[1-3]|model[6-8]).*
        string_.*
        strnorm.*
        """,
    ),
    Refusal(
        "shapes that depend on data",
        "not known before the network runs",
        r"""
        compress_(?!bfloat).*
        image_decoder_.*
        nonmaxsuppression_.*
        nonzero_example
        unique_(?!bfloat).*
        """,
    ),
    Refusal(
        "tensors without elements, for which there is nothing to compile",
        "empty|no elements",
        r"""
        causal_conv_with_state_kernel_size_one
        constantofshape_int_shape_zero
        reduce_sum_empty_set_non_reduced_axis_zero
        reshape_allowzero_reordered
        shape_start_greater_than_end
        slice_start_out_of_bounds
        split_zero_size_.*
        tri[lu]_zero
        """,
    ),
    Refusal(
        "an operator set from before ONNX settled",
        "opset 1; edgeconv reads opset 6 to",
        r"""
        not_[2-4]d
        """,
    ),
    Refusal(
        "nothing to run",
        "takes no inputs",
        r"""
        constant
        """,
    ),
    Refusal(
        "powers of 64-bit integers",
        "powers of 64-bit integers",
        r"""
        pow_types_int64_(float32|int64)
        """,
    ),
    Refusal(
        "training",
        r"training mode|ai\.onnx\.preview\.training|Gradient",
        r"""
        (nesterov_)?momentum.*
        ada(grad|m).*
        batchnorm_.*_training_mode
        gradient_of_.*
        training_dropout(?!_zero).*
        """,
    ),
    Refusal(
        "random numbers",
        "RandomUniformLike",
        r"""
        bernoulli.*
        """,
    ),
    Refusal(
        "loops over graphs",
        "Loop|Scan",
        r"""
        loop11
        linear_attention_.*
        range_(float|float16|int32)_type_.*_expanded
        scan.*
        """,
    ),
    Refusal(
        "classical machine learning and text, outside the project's scope",
        r"ai\.onnx\.ml|TfIdf|hold NaN",
        r"""
        ai_onnx_ml_(array_feature|binarizer|tree).*
        tfidfvectorizer_.*
        """,
    ),
    Refusal(
        "branches, outside the project's scope so far",
        r"\(If\): no converter",
        r"""
        if
        """,
    ),
    Refusal(
        "vectors of one element where the definition of Range asks for scalars",
        "'Range' op should be scalars",
        r"""
        affine_grid_.*_expanded
        """,
    ),
    Refusal(
        "signal processing and determinants, outside the project's scope",
        r"\((DFT|Det)\): no converter|\((DFT|MelWeightMatrix|STFT) node\) is not known",
        r"""
        det_.*
        dft.*
        melweightmatrix
        stft.*
        """,
    ),
    Refusal(
        "region pooling and key-value caches, which have no converter yet",
        r"\((RoiAlign|TensorScatter)\): no converter",
        r"""
        roialign_.*
        tensorscatter.*
        """,
    ),
)

# Computed right, and differently from the standard's example.
DIFFERENT = (
    Refusal(
        "scales that do not give whole sizes, with aligned corners: the standard's example "
        "stretches over the fractional size, PyTorch, ONNX Runtime and edgeconv over the outputs "
        "that there are (tests/compiler/test_operators.py compares)",
        "Not equal to tolerance",
        "resize_downsample_scales_(cubic|linear)_align_corners",
    ),
    Refusal(
        "half precision: the standard's example rounds every intermediate to half, and is up to "
        "two units in the last place off the exact result; edgeconv rounds after whole operators",
        "Not equal to tolerance",
        "attention_4d_causal_fp16",
    ),
)
