"""Which Relax operators work element by element, in whatever layout."""

ELEMENTWISE = frozenset(
    f"relax.{name}"
    for name in (
        *("add", "subtract", "multiply", "divide", "power", "maximum", "minimum"),
        *("abs", "negative", "exp", "log", "sqrt", "rsqrt", "floor", "ceil", "erf", "tanh"),
        *("sigmoid", "clip", "square", "sign", "round", "sin", "cos", "astype"),
        *("nn.relu", "nn.leakyrelu", "nn.gelu", "nn.gelu_tanh", "nn.silu", "nn.softplus"),
    )
)
