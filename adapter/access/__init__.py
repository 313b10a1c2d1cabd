"""Who may do what, at which study and site: pure data and one function, no web, no database."""

from adapter.access.matrix import MATRIX as MATRIX
from adapter.access.matrix import Matrix, allows, is_proper, load_matrix, reaches
from adapter.access.principal import Grant, Principal

__all__ = ["Grant", "Matrix", "Principal", "allows", "is_proper", "load_matrix", "reaches"]
