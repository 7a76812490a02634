"""Which of the ONNX standard's tests edgeconv refuses, and why.

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
        r"bfloat16|float8|float4|int4|int2",
        r"""
        .*_bf16
        .*bfloat16.*
        cast.*(BFLOAT16|FLOAT4|FLOAT8|INT2|INT4).*
        (de)?quantizelinear_(e4m3fn.*|float4e2m1|u?int[24])
        """,
    ),
    Refusal(
        "strings, sequences, optionals",
        r"no numeric tensor|Sequence|seq_|\(If|Optional|is required but missing|op_type:If",
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
        "tensors without elements, for which there is nothing to compile",
        "no elements",
        r"""
        reshape_allowzero_reordered
        slice_start_out_of_bounds
        split_zero_size_.*
        """,
    ),
    Refusal(
        "recurrent layers and branches, outside the project's scope so far",
        r"\((GRU|If|LSTM|RNN)\): no converter",
        r"""
        gru_.*
        if
        lstm_.*
        rnn_seq_length
        simple_rnn_.*
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

# Where PyTorch, ONNX Runtime and edgeconv agree on another result than the standard's example.
DIFFERENT = Refusal(
    "scales that do not give whole sizes, with aligned corners: the standard's example stretches "
    "over the fractional size, the others over the outputs that there are. PyTorch's exporter "
    "writes such scales. tests/compiler/test_operators.py compares with ONNX Runtime.",
    "",
    "resize_downsample_scales_(cubic|linear)_align_corners",
)

# To be done: not known to pass yet, and left out so far.
UNFINISHED = Refusal(
    "unfinished",
    "",
    r"""
    acosh.*
    affine_grid_.*_expanded
    asinh.*
    atanh.*
    attention_23_boolmask_fullymasked_row_nan_robustness
    attention_2[34]_.*qk_matmul_output.*
    attention_3d_causal
    attention_3d_diff_heads_sizes_causal
    attention_3d_gqa_causal
    attention_4d_(attn_mask_[34]d_)?causal(?!_bf16|_padded).*
    attention_4d_.*_causal
    attention_4d_diff_heads_mask4d_padded_kv
    attention_4d_fp16
    attention_4d_gqa_causal.*
    attention_4d_gqa_with_past_and_present_fp16
    attention_4d_with_qk_matmul.*
    attention_bidirectional_window
    attention_causal_boolmask_nan_robustness
    attention_.*local_window.*
    bitcast_.*
    bitshift_.*
    bitwise_.*
    blackmanwindow.*
    castlike_(DOUBLE|FLOAT|FLOAT16)_to_(DOUBLE|FLOAT|FLOAT16)
    causal_conv_with_state_(kernel_size_one|silu_fp16|silu_with_past_state|with_past_state)
    celu_float16
    clip_default_int8_.*
    clip_min_greater_than_max
    constant
    constantofshape_.*
    cosh.*
    cumprod_.*
    cumsum_.*
    dequantizelinear(?!_e4|_float4|_u?int[24]$).*
    det_.*
    dft.*
    dropout_default_mask.*
    dynamicquantizelinear.*
    Embedding.*
    eyelike_.*
    hammingwindow.*
    hannwindow.*
    hardmax_.*
    isinf_(negative|positive)
    linear_attention_.*
    melweightmatrix
    mish
    mod_float_edge_cases_.*
    mvn
    pow_types_.*
    PReLU_.*_multiparam
    quantizelinear(?!_e4|_float4|_u?int[24]$).*
    range_(?!bfloat).*
    reduce_.*_empty_set.*
    reduce_(max|min)_bool_inputs
    shape_start_greater_than_end
    sinh.*
    size.*
    stft.*
    top_k.*
    training_dropout_zero_ratio_mask
    tri[lu].*
    """,
)
