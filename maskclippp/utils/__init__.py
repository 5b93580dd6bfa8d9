"""Ground floor: errors, files, registries and distributed helpers; imports nothing else of the package."""
