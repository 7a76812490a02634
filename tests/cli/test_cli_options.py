import pytest

from edgeconv.cli.options import complete_model, complete_target, parse_input_shapes
from edgeconv.errors import UsageError


def test_input_shapes_are_read_by_name():
    assert parse_input_shapes(["x=1,3,224,224", "a=b=7"]) == {"x": (1, 3, 224, 224), "a=b": (7,)}


@pytest.mark.parametrize(
    "text", ["", "x", "x=", "=1,2", "x=1,,2", "x=1,0", "x=1,-3", "x=1.5", "x=1x3", "1,3,224,224"]
)
def test_a_wrong_input_shape_is_named(text):
    with pytest.raises(UsageError, match="--input-shape") as caught:
        parse_input_shapes([text])
    assert repr(text) in str(caught.value)


def test_an_input_shape_twice_is_refused():
    with pytest.raises(UsageError, match="'x' is given twice"):
        parse_input_shapes(["x=1", "x=2"])


def test_completion_knows_targets_and_models():
    assert complete_target("rasp") == ["rasp2", "rasp3", "rasp4", "rasp5"]
    assert complete_target("nothing") == []
    assert "zoo:mobilenet_v2" in complete_model("zoo:mob")
    assert complete_model("nothing") == []
