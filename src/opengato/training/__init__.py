"""Training: the loop, the optimisers, the state that resumes exactly."""
