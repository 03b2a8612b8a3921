"""Switch "Run once for all records of a batch" on for rules that version 19.0.1.0.0 ran in this way, and rightly so.

That version guessed from an automation rule's code whether it may run once for all records. The guess was wrong for
code that picks one of them, such as ``records.ids[0]``: only that record was served. If there is any doubt, the switch
stays off, and the code runs record by record, as everywhere in Odoo. That is slower, but never wrong.
"""

import ast

# Methods that keep all records, some of them, or a value of each.
KEEP_MANY = {
    *("exists", "filtered", "filtered_domain", "mapped", "sorted", "sudo"),
    *("with_company", "with_context", "with_env", "with_user"),
}
# Functions that use everything that they are given.
LOOK_AT_ALL = {"all", "any", "bool", "len", "list", "log", "set", "str", "sum", "tuple"}
# Attributes that only one record has, or that give one.
ONLY_OF_ONE = {"ensure_one", "id", "pop"}
# Statements that need a look by a person.
DOUBTFUL = (ast.Break, ast.ClassDef, ast.Delete, ast.FunctionDef, ast.Starred, ast.Try, ast.While, ast.With)
COMPREHENSIONS = (ast.DictComp, ast.GeneratorExp, ast.ListComp, ast.SetComp)


def migrate(cr, version):
    """Switch it on for all actions of a rule or for none, because the released version ran all in the same way."""
    cr.execute(
        """SELECT base_automation_id, array_agg(id), array_agg(CASE WHEN state = 'code' THEN code END)
             FROM ir_act_server WHERE base_automation_id IS NOT NULL GROUP BY base_automation_id"""
    )
    found = [ids for _rule, ids, codes in cr.fetchall() if all(runs_once(code or "") for code in codes)]
    cr.execute("UPDATE ir_act_server SET sendgrid_runs_once = TRUE WHERE id = ANY(%s)", [sum(found, [])])


def runs_once(code):
    """Tell whether the released version ran a rule's code once for all records, and was right to.

    :param str code: Python code of a server action
    :rtype: bool
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return False
    return _was_guessed(tree, code) and not _has_doubts(tree)


def _was_guessed(tree, code):
    """Tell whether the released version guessed that the code may run once."""
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    picks = any(isinstance(node, ast.Subscript) and ast.unparse(node.value) == "records" for node in nodes)
    return "records" in names and "record" not in names and not picks and "active_id" not in code


def _has_doubts(tree):
    """Tell whether the code may pick one of the records, or may give them another name and then pick one."""
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For) and _are_many(node.iter)]
    # After a loop, its names stand for the last record only.
    leaks = any(_get_names_bound_in(loop) & _get_names_outside(tree, loop) for loop in loops)
    return leaks or _is_doubtful(tree, frozenset())


def _is_doubtful(node, ones):
    """Tell whether a node of the syntax tree, or anything in it, may pick one of the records.

    :param ones: the names that, at this node, stand for one of the records or for something of it
    """
    if isinstance(node, DOUBTFUL) or any(isinstance(node, kinds) and check(node, ones) for kinds, check in CHECKS):
        return True
    inner, lambdas = ones | _get_names_of_loop(node), _get_lambdas_for_one(node, ones)
    return any(
        _is_doubtful(child.body, inner | {argument.arg for argument in child.args.args})
        if child in lambdas
        else _is_doubtful(child, inner)
        for child in ast.iter_child_nodes(node)
    )


def _picks(subscript, ones):
    """Tell whether an index such as ``[0]`` may pick one of the records."""
    return _has_records(subscript.value) or _get_root(subscript.value) not in {"env", *ones}


def _needs_one(attribute, _ones):
    """Tell whether an attribute such as ``.id`` works for a single record only."""
    return attribute.attr in ONLY_OF_ONE and _has_records(attribute.value)


def _names_again(assignment, _ones):
    """Tell whether an assignment gives the records another name, which is not followed any further."""
    return _has_records(assignment)


def _decides_for_all(condition, _ones):
    """Tell whether a condition is about the records together, so that it would differ for each of them."""
    return _has_records(condition.test)


def _hands_on(call, _ones):
    """Tell whether an unknown function gets the records, because it may pick one of them. Methods do not count."""
    is_unknown = isinstance(call.func, ast.Name) and call.func.id not in LOOK_AT_ALL
    return is_unknown and any(_has_records(argument) for argument in (*call.args, *call.keywords))


def _has_doubtful_loop(node, _ones):
    return any(_is_doubtful_loop(loop) for loop in _get_loops(node))


CHECKS = (
    (ast.Subscript, _picks),
    (ast.Attribute, _needs_one),
    ((ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr), _names_again),
    ((ast.Assert, ast.If, ast.IfExp), _decides_for_all),
    (ast.BoolOp, lambda operation, _ones: _has_records(operation)),
    (ast.Call, _hands_on),
    ((ast.For, *COMPREHENSIONS), _has_doubtful_loop),
    (ast.Lambda, lambda _function, _ones: True),  # those that `_get_lambdas_for_one` knows do not come here
)


def _get_loops(node):
    return [node] if isinstance(node, ast.For) else getattr(node, "generators", [])


def _get_names_of_loop(node):
    """Return the names that, in a loop or a comprehension, stand for one record or for something of it."""
    if isinstance(node, ast.For):
        return _get_names_bound_in(node) if _are_many(node.iter) else set()
    return {name for loop in _get_loops(node) for name in _get_names(loop.target)}


def _get_lambdas_for_one(node, ones):
    """Return the lambdas that a method such as ``records.filtered`` calls for one record after the other."""
    if isinstance(node, ast.Call) and (_are_many(node) or _get_root(node.func) in ones):
        return [argument for argument in node.args if isinstance(argument, ast.Lambda)]
    return []


def _is_doubtful_loop(loop):
    """Tell whether a loop or a comprehension goes through ``records`` in another way than one by one."""
    if _are_many(loop.iter):
        return not isinstance(loop.target, ast.Name)
    return _has_records(loop.iter)


def _are_many(node):
    """Tell whether an expression is ``records``, or something of each of them: ``records.sudo().partner_id``."""
    if isinstance(node, ast.Name):
        return node.id == "records"
    if isinstance(node, ast.Attribute):
        return node.attr not in ONLY_OF_ONE and _are_many(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in KEEP_MANY and _are_many(node.func.value)
    return False


def _has_records(node):
    return "records" in _get_names(node)


def _get_names(node):
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}


def _get_names_bound_in(loop):
    return {child.id for child in ast.walk(loop) if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)}


def _get_names_outside(tree, loop):
    inside = set(ast.walk(loop))
    return {child.id for child in ast.walk(tree) if isinstance(child, ast.Name) and child not in inside}


def _get_root(node):
    """Return the name that an expression begins with: ``email`` for ``email.author_id.user_ids()[0]``. Else None."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None
