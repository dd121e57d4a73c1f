"""Fair, extensible and verifiable benchmarks of multi-task recommenders."""
