"""Wengert: composable derivatives of NumPy programs (public names are installed at the end)."""
