"""Random numbers from explicit keys: the names, the meaning and the bits of `jax.random`.

Every sampler takes a key first and is a pure function of its arguments; new keys come from
`split` and `fold_in`. Keys, bits and integers are equal to those of JAX, floats to their
rounding, in the layout that the key names (see `keys`). Samples are differentiable in the
parameters of continuous distributions, and all samplers work under `vmap` and `jit`. Default
dtypes are float32 and int32.

>>> from wengert import random
>>> key, subkey = random.split(random.key(0))
>>> random.normal(subkey, (3,)).shape
(3,)
"""

from wengert.random.discrete import bernoulli as bernoulli
from wengert.random.discrete import binomial as binomial
from wengert.random.discrete import categorical as categorical
from wengert.random.discrete import geometric as geometric
from wengert.random.discrete import multinomial as multinomial
from wengert.random.discrete import poisson as poisson
from wengert.random.discrete import rademacher as rademacher
from wengert.random.gammas import ball as ball
from wengert.random.gammas import beta as beta
from wengert.random.gammas import chisquare as chisquare
from wengert.random.gammas import dirichlet as dirichlet
from wengert.random.gammas import f as f
from wengert.random.gammas import gamma as gamma
from wengert.random.gammas import generalized_normal as generalized_normal
from wengert.random.gammas import loggamma as loggamma
from wengert.random.gammas import t as t
from wengert.random.inversion import cauchy as cauchy
from wengert.random.inversion import exponential as exponential
from wengert.random.inversion import gumbel as gumbel
from wengert.random.inversion import laplace as laplace
from wengert.random.inversion import logistic as logistic
from wengert.random.inversion import pareto as pareto
from wengert.random.inversion import rayleigh as rayleigh
from wengert.random.inversion import triangular as triangular
from wengert.random.inversion import weibull_min as weibull_min
from wengert.random.keys import KeyArray as KeyArray
from wengert.random.keys import PRNGKey as PRNGKey
from wengert.random.keys import clone as clone
from wengert.random.keys import fold_in as fold_in
from wengert.random.keys import key as key
from wengert.random.keys import key_data as key_data
from wengert.random.keys import key_dtype as key_dtype
from wengert.random.keys import key_impl as key_impl
from wengert.random.keys import split as split
from wengert.random.keys import wrap_key_data as wrap_key_data
from wengert.random.normals import double_sided_maxwell as double_sided_maxwell
from wengert.random.normals import lognormal as lognormal
from wengert.random.normals import maxwell as maxwell
from wengert.random.normals import multivariate_normal as multivariate_normal
from wengert.random.normals import normal as normal
from wengert.random.normals import orthogonal as orthogonal
from wengert.random.normals import truncated_normal as truncated_normal
from wengert.random.normals import wald as wald
from wengert.random.selection import choice as choice
from wengert.random.selection import permutation as permutation
from wengert.random.uniforms import bits as bits
from wengert.random.uniforms import randint as randint
from wengert.random.uniforms import uniform as uniform
