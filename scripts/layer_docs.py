"""Writes a page for each family of layers to docs/layers/, from the sources.

.venv/bin/python scripts/layer_docs.py [--check]

With --check nothing is written; it exits with 1 where a page is not what the sources give.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

import edgeconv
from edgeconv import digits, zoo
from edgeconv.inspection import inspect_model, totals
from edgeconv.nn import seed_weights
from edgeconv.nn.families import FAMILIES, Example, Family

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "layers"
GENERATED = "<!-- Written by scripts/layer_docs.py from the sources: change those. -->"


def main() -> None:
    """Write all pages, or compare them with what stands there."""
    pages = {f"{name}.md": "\n".join(page(name, family)) for name, family in FAMILIES.items()}
    pages["README.md"] = "\n".join(index())
    PAGES.mkdir(parents=True, exist_ok=True)
    if "--check" not in sys.argv:
        for name, text in pages.items():
            (PAGES / name).write_text(text, encoding="utf-8")
        return
    if stale := differing(pages, PAGES):
        sys.exit(f"docs/layers: {', '.join(stale)}: not what the sources give; run `make docs`")


def differing(pages: dict[str, str], folder: Path) -> list[str]:
    """Return the names of pages that are missing in the folder, other there, or only there."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return sorted(name for name in pages | found if pages.get(name) != found.get(name))


def index() -> Iterator[str]:
    """Yield the lines of the list of pages."""
    yield from (GENERATED, "# Layers", "")
    yield "Every family of convolutions that `edgeconv.nn` has, one page each:"
    yield from ("", "| family | layers | zoo networks |", "| --- | --- | --- |")
    for name, family in FAMILIES.items():
        layers = ", ".join(f"`{layer.__name__}`" for layer in family.layers)
        networks = ", ".join(f"`zoo:{network}`" for network in family.networks)
        yield f"| [{family.title}]({name}.md) | {layers} | {networks} |"
    yield ""


def page(name: str, family: Family) -> Iterator[str]:
    """Yield the lines of a family's page."""
    module = inspect.getmodule(family.layers[0])
    assert module is not None
    yield from (GENERATED, f"# {family.title}", "")
    yield from (with_links(inspect.getdoc(module) or ""), "")
    yield from (f"Defined in `edgeconv/nn/{name}.py`.", "")
    for layer in family.layers:
        yield from layer_section(layer)
    yield from ("## Examples", "")
    yield "| layer | inputs | output | ONNX operators | multiply-adds | parameters |"
    yield "| --- | --- | --- | --- | ---: | ---: |"
    for example in family.examples.values():
        yield "| " + " | ".join(example_row(example)) + " |"
    yield from ("", "## What is checked", "")
    yield from checks(family)
    yield ""


def layer_section(layer: type[nn.Module]) -> Iterator[str]:
    """Yield a layer's signature, description, parameters and errors."""
    blocks = docstring_blocks(layer)
    yield from (f"## `{layer.__name__}`", "", "```python")
    yield from (f"{layer.__name__}({', '.join(parameters(layer))})", "```", "")
    yield from (blocks[""], "")
    if "Args" in blocks:
        yield from ("| parameter | default | meaning |", "| --- | --- | --- |")
        defaults = inspect.signature(layer).parameters
        for parameter, text in entries(blocks["Args"]):
            default = defaults[parameter].default
            shown = "" if default is inspect.Parameter.empty else f"`{value_text(default)}`"
            yield f"| `{parameter}` | {shown} | {text} |"
        yield ""
    for error, text in entries(blocks.get("Raises", "")):
        yield from (f"Raises `{error}`: {text}", "")


def parameters(layer: type[nn.Module]) -> Iterator[str]:
    """Yield the constructor's parameters as they are written, without types."""
    keyword_only = False
    for parameter in inspect.signature(layer).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            yield "*"
        default = parameter.default
        shown = "" if default is parameter.empty else f"={value_text(default)}"
        yield parameter.name + shown


def value_text(value: object) -> str:
    """Return a default as it is written in Python."""
    return f"nn.{value.__name__}" if isinstance(value, type) else repr(value)


def docstring_blocks(layer: type[nn.Module]) -> dict[str, str]:
    """Split a class's docstring into the text ("") and its blocks, such as "Args"."""
    parts = re.split(r"^(Args|Raises):\n", inspect.getdoc(layer) or "", flags=re.MULTILINE)
    return {"": parts[0].strip(), **dict(zip(parts[1::2], parts[2::2], strict=True))}


def entries(block: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of a block's entries, `name: text` with indented further lines."""
    for entry in re.split(r"\n(?=    \w)", "\n" + block.rstrip())[1:]:
        name, _, text = entry.partition(":")
        yield name.strip(), " ".join(text.split()).replace("|", "\\|")


def example_row(example: Example) -> list[str]:
    """Export an example and return its cells."""
    layer = seed_weights(example.make(), 0).eval()
    exported = edgeconv.export(layer, [torch.zeros(shape) for shape in example.shapes])
    layers = inspect_model(exported.model)
    (output,) = exported.golden[0].outputs.values()
    return [
        f"`{example.text}`",
        ", ".join(shape_text(shape) for shape in example.shapes),
        shape_text(output.shape),
        ", ".join(sorted({layer.op for layer in layers})),
        f"{totals(layers).macs:,}",
        f"{sum(parameter.numel() for parameter in layer.parameters()):,}",
    ]


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape as (1, 3, 8, 8) is written: 1x3x8x8."""
    return "x".join(map(str, shape))


def checks(family: Family) -> Iterator[str]:
    """Yield what the tests do with the family."""
    source = (ROOT / "tests" / family.checks).read_text(encoding="utf-8")
    yield f"- `tests/{family.checks}`: {one_line(ast.get_docstring(ast.parse(source)))}"
    yield (
        "- `tests/compiler/test_families.py` compiles the examples above and compares them with "
        "PyTorch, within the rounding error to expect: on `host` natively, on `rasp4` and `rasp2` "
        "under qemu (Cortex-A72, Cortex-A7)."
    )
    for network in family.networks:
        name, _, variant = network.partition("/")
        yield (
            digits_check(variant)
            if name == "digits"
            else (
                f"- `tests/compiler/test_networks.py` does the same with `zoo:{network}/tiny`, and "
                "compares several threads with one."
            )
        )


def digits_check(variant: str) -> str:
    """Say how many digits a trained network reads, by PyTorch."""
    images, labels = (torch.from_numpy(array) for array in digits.load("test"))
    with torch.no_grad():
        right = (zoo.load("digits", variant)(images).argmax(1) == labels).sum()
    return (
        f"- `tests/models/test_digits.py`: the trained `zoo:digits/{variant}` reads {right} of "
        f"{len(labels)} handwritten digits right in PyTorch, and the artifact reads every one as "
        "PyTorch does, on `host` and on `rasp4` under qemu."
    )


def with_links(text: str) -> str:
    """Make links of arXiv's numbers."""
    return re.sub(r"arXiv:(\d{4}\.\d{5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def one_line(text: str | None) -> str:
    """Return a docstring as one line, without its capital."""
    assert text is not None, "every test of layers says what it compares with"
    return text[0].lower() + " ".join(text.split())[1:]


if __name__ == "__main__":
    main()
