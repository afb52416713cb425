"""HTTP routes, a module for each part of the surface."""
