"""What checkpointing is written with, under the names of `jax.ad_checkpoint`.

`checkpoint` keeps the inputs of a function for the backward pass instead of its residuals; its
policy says what is kept after all, by operation or by the names that `checkpoint_name` gives.

>>> import wengert, wengert.numpy as wnp
>>> def layer(w, x):
...     return wnp.tanh(checkpoint_name(x @ w, "product"))
>>> policy = checkpoint_policies.save_only_these_names("product")
>>> f = checkpoint(layer, policy=policy)
>>> for type_, source in saved_residuals(f, wnp.ones((3, 2)), wnp.ones(3)):
...     print(type_, source.partition(" from <")[0])
f32[3,2] from the argument w
f32[3] from the argument x
f32[2] named 'product', output of dot_general
"""

from __future__ import annotations

from wengert.transforms import checkpoint_policies as checkpoint_policies
from wengert.transforms.checkpoint import checkpoint as checkpoint
from wengert.transforms.checkpoint_policies import checkpoint_name as checkpoint_name
from wengert.transforms.saved_residuals import print_saved_residuals as print_saved_residuals
from wengert.transforms.saved_residuals import saved_residuals as saved_residuals

remat = checkpoint
