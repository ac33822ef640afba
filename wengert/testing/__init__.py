"""What tests of derivatives need, for users as for this package's own tests.

`check_grads` compares the derivatives of any function with finite differences; `check_rules`
does so for custom rules; `check_primitive` runs all rules of a primitive against each other on
its samples; `random_program` makes small random functions, for properties that hold for all.
"""

from wengert.testing.grads import check_grads as check_grads
from wengert.testing.grads import check_rules as check_rules
from wengert.testing.primitives import CHECKS as CHECKS
from wengert.testing.primitives import check_primitive as check_primitive
from wengert.testing.programs import RandomProgram as RandomProgram
from wengert.testing.programs import random_program as random_program
from wengert.testing.programs import random_programs as random_programs

__all__ = [
    "CHECKS",
    "RandomProgram",
    "check_grads",
    "check_primitive",
    "check_rules",
    "random_program",
    "random_programs",
]
