"""Writes state.bin, turned.bin, legacy.bin and module.bin beside this file, as torch.save does.

usage: python make_torch.py     (needs: torch)
"""
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))


def main():
    ramp = torch.arange(6, dtype=torch.float32)
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state = torch.nn.Linear(2, 2).state_dict()  # an OrderedDict with _metadata
    with torch.no_grad():
        state["weight"].copy_(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
        state["bias"].copy_(torch.tensor([0.25, -1.0]))
    state["rows"] = base[1:]  # a view that begins inside its storage
    state["half"] = ramp.half()
    state["brain"] = ramp.bfloat16()
    state["double"] = ramp.double()
    state["ids"] = torch.arange(3)
    state["mask"] = torch.tensor([True, False])
    state["parameter"] = torch.nn.Parameter(torch.ones(1, 3))
    state["scalar"] = torch.tensor(7.0)
    state["empty"] = torch.zeros(0, 3)
    state["tied"] = state["weight"]
    state["steps"] = 5
    torch.save(state, os.path.join(here, "state.bin"))
    torch.save({"turned": base.t()}, os.path.join(here, "turned.bin"))
    torch.save({"x": ramp}, os.path.join(here, "legacy.bin"), _use_new_zipfile_serialization=False)
    torch.save({"x": ramp, "model": torch.nn.Linear(1, 1)}, os.path.join(here, "module.bin"))


main()
