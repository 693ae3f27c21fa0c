"""A larger mix of real texts and pictures than is shipped, from pinned packages of registries, written in public formats."""
