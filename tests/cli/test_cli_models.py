from edgeconv.zoo import list_models


def test_table_shows_every_network(cli):
    text = cli("models").stdout
    for name in list_models():
        assert f"zoo:{name}" in text


def test_json_names_every_variant_as_commands_take_it(cli_json):
    found = {entry["name"]: entry for entry in cli_json("models")["models"]}
    assert len(found) == sum(len(model.variants) for model in list_models().values())
    network = found["zoo:efficientnet_lite0"]
    assert network["inputs"] == {"image": [1, 3, 224, 224]}
    assert network["labels"] is True
