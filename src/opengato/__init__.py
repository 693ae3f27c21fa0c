"""OpenGato: the open generalist agent."""
