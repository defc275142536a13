"""DCT features in, suspicion scores out: manipulations, networks, training, bundled weights.

torch lives here, in submodules that need it; importing the package itself stays light.
"""
