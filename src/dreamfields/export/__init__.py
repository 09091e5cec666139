"""Export: meshes, files, images and videos of a field."""
