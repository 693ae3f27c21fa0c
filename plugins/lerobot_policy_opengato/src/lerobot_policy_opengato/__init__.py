"""OpenGato's agents as a policy of LeRobot, of the type "opengato": installed, LeRobot's commands find it by its name (docs/robots.md)."""

from .configuration_opengato import OpenGatoConfig
from .modeling_opengato import OpenGatoPolicy
from .processor_opengato import make_opengato_pre_post_processors

__all__ = ["OpenGatoConfig", "OpenGatoPolicy", "make_opengato_pre_post_processors"]
