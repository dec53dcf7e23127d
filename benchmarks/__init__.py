"""What costs how much, beside what others need for the same: ``python -m benchmarks``."""
