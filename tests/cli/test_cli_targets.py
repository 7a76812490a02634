from edgeconv.target import list_targets


def test_table_shows_every_target(cli):
    text = cli("targets").stdout
    for target in list_targets():
        assert target.name in text
        assert target.description in text


def test_json_holds_what_the_files_say(cli_json):
    targets = {entry["name"]: entry for entry in cli_json("targets")["targets"]}
    assert sorted(targets) == [target.name for target in list_targets()]
    assert targets["rasp4"]["emulator"] == {"program": "qemu-aarch64", "cpu": "cortex-a72"}
    assert targets["host"]["native"] is True
