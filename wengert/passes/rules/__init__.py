"""Rules of simplification: tables from primitives to rules, a file per family."""
