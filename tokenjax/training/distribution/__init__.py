"""Several devices and several processes: meshes, clusters, agreement, signals."""
