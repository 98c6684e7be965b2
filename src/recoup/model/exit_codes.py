"""What exit codes mean, for pages and for programs that read them."""

import ast
import inspect
from itertools import pairwise

from recoup import errors


def exit_code_table() -> list[tuple[int, str]]:
    """Exit codes and their meanings, from where they are defined."""
    tree = ast.parse(inspect.getsource(errors))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode"]
    table = []
    for statement, text in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            number = statement.value
            if isinstance(number, ast.Constant) and isinstance(number.value, int):
                table.append((number.value, str(text.value.value)))
    return table
