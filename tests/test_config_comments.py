"""Every key of src/config.yaml has a comment."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def undocumented_keys(text):
    """Dotted names of the YAML leaf keys that have a comment neither beside them nor on the line above."""
    lines = text.splitlines()

    def walk(node, prefix):
        for key, value in node.value:
            name = prefix + key.value
            if isinstance(value, yaml.MappingNode) and value.value:
                yield from walk(value, name + ".")
            elif not commented(key, value):
                yield name

    def commented(key, value):
        first, last = key.start_mark.line, value.end_mark
        if isinstance(value, yaml.ScalarNode) or value.flow_style:
            tail = lines[last.line][last.column :] if last.line < len(lines) else ""
        else:
            tail = lines[first][key.end_mark.column :]
        return "#" in tail or (first > 0 and lines[first - 1].lstrip().startswith("#"))

    return list(walk(yaml.compose(text), ""))


def test_every_config_key_has_a_comment():
    assert not undocumented_keys((ROOT / "src" / "config.yaml").read_text(encoding="utf-8"))


def test_config_key_without_a_comment_is_found():
    text = "\n".join(
        [
            "train:",
            "  lr: 1e-3  # step size",
            '  tag: "#1"',
            "  # why there are two",
            "  sizes: [64, 96]",
            "  steps: [1, 2]",
            "  empty: {}",
            "  phases: # in this order",
            "    - one",
            "    - two",
            "  rest:",
            "    - one  # of the item, not of the key",
            "    - two",
            "seed: null",
        ]
    )
    assert undocumented_keys(text) == ["train.tag", "train.steps", "train.empty", "train.rest", "seed"]
