"""Functions for neural networks, with the names of `jax.nn`: activations, softmax, attention.

There are no layers and no optimizers here: parameters are trees of arrays, models are
functions. Initial values of parameters are in `wengert.nn.initializers`.
"""

from wengert.nn import initializers as initializers
from wengert.nn.attention import dot_product_attention as dot_product_attention
from wengert.nn.functions import celu as celu
from wengert.nn.functions import elu as elu
from wengert.nn.functions import gelu as gelu
from wengert.nn.functions import glu as glu
from wengert.nn.functions import hard_sigmoid as hard_sigmoid
from wengert.nn.functions import hard_silu as hard_silu
from wengert.nn.functions import hard_swish as hard_swish
from wengert.nn.functions import hard_tanh as hard_tanh
from wengert.nn.functions import identity as identity
from wengert.nn.functions import leaky_relu as leaky_relu
from wengert.nn.functions import log1mexp as log1mexp
from wengert.nn.functions import log_sigmoid as log_sigmoid
from wengert.nn.functions import mish as mish
from wengert.nn.functions import one_hot as one_hot
from wengert.nn.functions import relu as relu
from wengert.nn.functions import relu6 as relu6
from wengert.nn.functions import relu_squared as relu_squared
from wengert.nn.functions import selu as selu
from wengert.nn.functions import sigmoid as sigmoid
from wengert.nn.functions import silu as silu
from wengert.nn.functions import soft_sign as soft_sign
from wengert.nn.functions import softplus as softplus
from wengert.nn.functions import sparse_plus as sparse_plus
from wengert.nn.functions import sparse_sigmoid as sparse_sigmoid
from wengert.nn.functions import squareplus as squareplus
from wengert.nn.functions import swish as swish
from wengert.nn.functions import tanh as tanh
from wengert.nn.normalization import log_softmax as log_softmax
from wengert.nn.normalization import logmeanexp as logmeanexp
from wengert.nn.normalization import logsumexp as logsumexp
from wengert.nn.normalization import softmax as softmax
from wengert.nn.normalization import standardize as standardize
