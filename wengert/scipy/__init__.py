"""Functions of SciPy for arrays and tracers, differentiable, in modules named as there."""

from wengert.scipy import linalg as linalg
from wengert.scipy import signal as signal
from wengert.scipy import special as special
from wengert.scipy import stats as stats
