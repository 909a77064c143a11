"""The figures that Strowger promises, measured beside its peers: ``python -m bench``, explained in docs/bench.md."""
