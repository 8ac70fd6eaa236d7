"""Training: objective, schedules, one loop, and a step module for each backend."""
