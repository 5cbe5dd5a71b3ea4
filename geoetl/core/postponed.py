"""Lets a library be imported without what it loads for a function of another that is hardly ever called."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import Any


@contextmanager
def postponed(module: str, function: str) -> Iterator[None]:
    """Load a module only when a function of it is called by whoever imports that function in the block.

    In the block another module stands for it, with this one function; behind it everybody gets the real one. Nothing
    is done where it is loaded already, or where its package is not installed.

    Args:
        module: Its full name.
        function: What is called of it: a function, or a class that is only made and neither inherited nor asked for.
    """
    if module in sys.modules or find_spec(module.partition(".")[0]) is None:
        yield
        return

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*arguments, **named)

    stand_in = module_from_spec(ModuleSpec(module, None))
    setattr(stand_in, function, call)
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]
