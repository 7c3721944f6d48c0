"""How many examples the property tests of the core draw."""

from hypothesis import settings

# The first call of a kernel compiles it, so no example has a deadline.
settings.register_profile("core", deadline=None, max_examples=25)
settings.load_profile("core")
