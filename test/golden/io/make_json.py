"""Writes json.json: values beside the texts Python's json.dumps makes of them. Run: python make_json.py"""
import json
import pathlib

floats = [0.0, -0.0, 1.0, -1.5, 0.1, 1e-05, 0.0001, 0.00012345, 1e-7, 5e-324, 1.7976931348623157e308, 1e15, 1e16,
          123456789012345680.0, 9007199254740993.0, 1e21, 1e22, 11.313708498984761, 2 / 3, 1e100, 3.0000000000000004]
tree = {
    "b": [], "a": {}, "z": [1, 2.0, None, True, False, "x\u00e9\u2028\U0001f600\x7f\x1f\"\\/\n\r\t\b\f"],
    "\uff5e": 1, "\U0001f600": 2, "Z": {"y": 16, "x": 16.0, "big": 2**70, "neg": -(2**63)}, "": [[[]], {"k": {}}],
}
out = {
    "floats": [[float.hex(x), repr(x)] for x in floats],
    "tree": {
        "sorted_ascii": json.dumps(tree, indent=2, sort_keys=True),
        "raw": json.dumps(tree, indent=2, ensure_ascii=False),
        "one_line": json.dumps(tree, sort_keys=True),
    },
}
pathlib.Path(__file__).with_name("json.json").write_text(json.dumps(out, indent=1) + "\n")
