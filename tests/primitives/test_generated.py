"""Every primitive, on all its samples, through all checks of `wengert.testing`."""

from __future__ import annotations

from wengert.testing import check_primitive


def test_primitive(primitive):
    assert list(primitive.samples()), f"{primitive.name} has no samples"
    check_primitive(primitive)
