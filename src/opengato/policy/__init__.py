"""Acting: slots, memory, prompts, sampling."""
