"""Random programs of primitives, to compare engines on.

`random_case` makes a program over all primitives, dtypes and shapes, with arguments; `check`
compares its results by machine code with those of the eager engine, transformed or not;
`shrink` makes a failing case small; `as_code` prints it as Python code that runs.

    python -m wengert.testing.fuzzing --programs 100000 --seed 0

does all of this on all cores. The generator is in the spirit of NNSmith (J. Liu et al. 2023):
operations are drawn with parameters and operands that satisfy their type rules.
"""

from wengert.testing.fuzzing.cases import Case as Case
from wengert.testing.fuzzing.cases import random_case as random_case
from wengert.testing.fuzzing.draft import primitive as primitive
from wengert.testing.fuzzing.oracle import ENGINES as ENGINES
from wengert.testing.fuzzing.oracle import WAYS as WAYS
from wengert.testing.fuzzing.oracle import Disagreement as Disagreement
from wengert.testing.fuzzing.oracle import check as check
from wengert.testing.fuzzing.printing import as_code as as_code
from wengert.testing.fuzzing.printing import check_function as check_function
from wengert.testing.fuzzing.shrink import shrink as shrink

__all__ = [
    "ENGINES",
    "WAYS",
    "Case",
    "Disagreement",
    "as_code",
    "check",
    "check_function",
    "primitive",
    "random_case",
    "shrink",
]
