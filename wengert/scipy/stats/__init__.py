"""Probability distributions with the names and methods of `scipy.stats`, differentiable.

Each name is an object with methods: `norm.logpdf(x, loc, scale)`, `poisson.logpmf(k, mu)`.
Drawing random numbers is the business of `wengert.random`.
"""

from wengert.scipy.stats.continuous import beta as beta
from wengert.scipy.stats.continuous import cauchy as cauchy
from wengert.scipy.stats.continuous import chi2 as chi2
from wengert.scipy.stats.continuous import expon as expon
from wengert.scipy.stats.continuous import gamma as gamma
from wengert.scipy.stats.continuous import gennorm as gennorm
from wengert.scipy.stats.continuous import gumbel_l as gumbel_l
from wengert.scipy.stats.continuous import gumbel_r as gumbel_r
from wengert.scipy.stats.continuous import laplace as laplace
from wengert.scipy.stats.continuous import logistic as logistic
from wengert.scipy.stats.continuous import norm as norm
from wengert.scipy.stats.continuous import pareto as pareto
from wengert.scipy.stats.continuous import t as t
from wengert.scipy.stats.continuous import truncnorm as truncnorm
from wengert.scipy.stats.continuous import uniform as uniform
from wengert.scipy.stats.continuous import vonmises as vonmises
from wengert.scipy.stats.continuous import wrapcauchy as wrapcauchy
from wengert.scipy.stats.discrete import bernoulli as bernoulli
from wengert.scipy.stats.discrete import betabinom as betabinom
from wengert.scipy.stats.discrete import binom as binom
from wengert.scipy.stats.discrete import geom as geom
from wengert.scipy.stats.discrete import nbinom as nbinom
from wengert.scipy.stats.discrete import poisson as poisson
from wengert.scipy.stats.multivariate import dirichlet as dirichlet
from wengert.scipy.stats.multivariate import multinomial as multinomial
from wengert.scipy.stats.multivariate import multivariate_normal as multivariate_normal
