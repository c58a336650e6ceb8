"""What holds for every test."""

from hypothesis import HealthCheck, settings

# A slow moment of the machine is not a failing example: time is measured by the benchmarks.
settings.register_profile("pacs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pacs")
